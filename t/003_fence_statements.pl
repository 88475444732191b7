# Every kind of statement that writes, without the lease and with it.
#
#   commit  refused when it would commit: it has a transaction id
#   before  refused before it runs: it changes what no commit guards, or
#           writes its own commit record
#   cut     the connection ends, because its id came after the check
#   passes  allowed: the table says why
#
# A session that began under a lease is asked first (its transactions may
# write), then one that begins without (read-only by default), then, with a
# lease, everything must pass.

use strict;
use warnings;
use PgHa::Fence;
use PostgreSQL::Test::Utils;
use Test::More;

my $f = PgHa::Fence->new('statements', init => { allows_streaming => 'logical' });
my $node = $f->node;
my $place = $node->basedir . '/place';
mkdir "$place$_" for 1 .. 3;
$node->start;

$f->lease(20_000);
$node->safe_psql('postgres', $_) for <<"SQL" =~ /(.+)\n/g;
CREATE TABLE t (i int PRIMARY KEY, v text); INSERT INTO t SELECT generate_series(1, 100), 'x'
CREATE TABLE other (i int); CREATE INDEX other_i ON other (i); CREATE INDEX other_j ON other (i)
CREATE UNLOGGED TABLE u (i int); CREATE SEQUENCE s
CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE UNIQUE INDEX m_i ON m (i)
CREATE FUNCTION writes() RETURNS void LANGUAGE sql AS 'INSERT INTO t VALUES (1000)'
CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (1001); COMMIT; END'
CREATE TABLE parent (i int) PARTITION BY RANGE (i); CREATE TYPE mood AS ENUM ('fine'); CREATE ROLE somebody
CREATE TABLE p (i int)
BEGIN; INSERT INTO p VALUES (1); PREPARE TRANSACTION 'p1'
BEGIN; INSERT INTO p VALUES (2); PREPARE TRANSACTION 'p2'
CREATE DATABASE victim
CREATE DATABASE mover
CREATE TABLESPACE place1 LOCATION '${place}1'
CREATE TABLESPACE place2 LOCATION '${place}2'
SELECT lo_from_bytea(4711, 'x')
SQL
$node->restart;

my @statements = (
	# rows
	[ commit => 'INSERT', 'INSERT INTO t VALUES (200)' ],
	[ commit => 'INSERT ON CONFLICT', 'INSERT INTO t VALUES (1) ON CONFLICT (i) DO UPDATE SET v = 2' ],
	[ commit => 'UPDATE', 'UPDATE t SET v = 3 WHERE i = 1' ],
	[ commit => 'DELETE', 'DELETE FROM t WHERE i = 2' ],
	[ commit => 'MERGE', 'MERGE INTO t USING (VALUES (3)) s (i) ON t.i = s.i WHEN MATCHED THEN UPDATE SET v = 4' ],
	[ commit => 'COPY FROM', "COPY t (i) FROM PROGRAM 'echo 300'" ],
	[ commit => 'a writing CTE', 'WITH w AS (INSERT INTO t VALUES (400) RETURNING i) SELECT * FROM w' ],
	[ commit => 'a function that writes', 'SELECT writes()' ],
	[ commit => 'EXPLAIN ANALYZE of a write', 'EXPLAIN ANALYZE INSERT INTO t VALUES (401)' ],
	[ commit => 'EXECUTE of a write', 'PREPARE e AS INSERT INTO t VALUES (402); EXECUTE e' ],
	[ commit => 'a transaction block', 'BEGIN; INSERT INTO t VALUES (403); COMMIT' ],
	[ commit => 'a subtransaction', 'BEGIN; SAVEPOINT a; INSERT INTO t VALUES (404); RELEASE a; COMMIT' ],
	[ commit => 'DO', 'DO $$BEGIN INSERT INTO t VALUES (405); END$$' ],
	[ commit => 'DO with COMMIT', 'DO $$BEGIN INSERT INTO t VALUES (406); COMMIT; END$$' ],
	[ commit => 'CALL with COMMIT', 'CALL commits()' ],
	[ commit => 'SELECT FOR UPDATE: a lock is in the row', 'SELECT * FROM t WHERE i = 5 FOR UPDATE' ],
	[ commit => 'SELECT FOR SHARE', 'SELECT * FROM t WHERE i = 5 FOR KEY SHARE' ],
	[ commit => 'synchronous_commit = off', 'SET synchronous_commit = off; INSERT INTO t VALUES (407)' ],
	[ commit => 'an unlogged table', 'INSERT INTO u VALUES (1)' ],
	[ commit => 'a temporary table', 'CREATE TEMP TABLE temp (i int)' ],
	[ commit => 'TRUNCATE', 'TRUNCATE other' ],
	[ commit => 'txid_current()', 'SELECT txid_current()' ],

	# sequences and large objects
	[ commit => 'nextval() that is logged', "SELECT nextval('s')" ],
	[ passes => 'nextval() again: the leader logged it ahead, so a new one goes on behind it', "SELECT nextval('s')", 'refused' ],
	[ commit => 'setval()', "SELECT setval('s', 100)" ],
	[ commit => 'lo_create()', 'SELECT lo_create(0)' ],
	[ commit => 'lo_put()', "SELECT lo_put(4711, 0, 'y')" ],
	[ commit => 'lo_unlink()', 'SELECT lo_unlink(4711)' ],

	# definitions
	[ commit => 'CREATE TABLE', 'CREATE TABLE c1 (i int)' ],
	[ commit => 'CREATE TABLE AS', 'CREATE TABLE c2 AS SELECT 1' ],
	[ commit => 'SELECT INTO', 'SELECT 1 INTO c3' ],
	[ commit => 'ALTER TABLE', 'ALTER TABLE other ADD j int' ],
	[ commit => 'ALTER TABLE SET TABLESPACE', 'ALTER TABLE other SET TABLESPACE place1' ],
	[ commit => 'CREATE INDEX', 'CREATE INDEX t_v ON t (v)' ],
	[ commit => 'CREATE INDEX CONCURRENTLY', 'CREATE INDEX CONCURRENTLY t_c ON t (v)' ],
	[ commit => 'DROP INDEX CONCURRENTLY', 'DROP INDEX CONCURRENTLY other_i' ],
	[ commit => 'REINDEX', 'REINDEX TABLE t' ],
	[ commit => 'REINDEX CONCURRENTLY', 'REINDEX INDEX CONCURRENTLY other_j' ],
	[ commit => 'CLUSTER', 'CLUSTER t USING t_pkey' ],
	[ commit => 'REFRESH MATERIALIZED VIEW', 'REFRESH MATERIALIZED VIEW m' ],
	[ commit => 'REFRESH CONCURRENTLY', 'REFRESH MATERIALIZED VIEW CONCURRENTLY m' ],
	[ commit => 'CREATE VIEW', 'CREATE VIEW v AS SELECT 1' ],
	[ commit => 'CREATE FUNCTION', "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'" ],
	[ commit => 'CREATE TRIGGER', 'CREATE TRIGGER tr BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()' ],
	[ commit => 'CREATE PARTITION', 'CREATE TABLE child PARTITION OF parent DEFAULT' ],
	[ commit => 'CREATE SCHEMA', 'CREATE SCHEMA sc' ],
	[ commit => 'ALTER TYPE ADD VALUE', "ALTER TYPE mood ADD VALUE 'better'" ],
	[ commit => 'COMMENT', "COMMENT ON TABLE t IS 'c'" ],
	[ commit => 'GRANT', 'GRANT SELECT ON t TO PUBLIC' ],
	[ commit => 'CREATE ROLE', 'CREATE ROLE r' ],
	[ commit => 'ALTER ROLE SET', "ALTER ROLE somebody SET work_mem = '5MB'" ],
	[ commit => 'ALTER DATABASE SET', "ALTER DATABASE mover SET work_mem = '5MB'" ],
	[ commit => 'CREATE EXTENSION', 'CREATE EXTENSION pgstattuple' ],
	[ commit => 'CREATE PUBLICATION', 'CREATE PUBLICATION pub' ],
	[ commit => 'CREATE SUBSCRIPTION', "CREATE SUBSCRIPTION sub CONNECTION '' PUBLICATION pub WITH (connect = false)" ],
	[ commit => 'DROP TABLE', 'DROP TABLE u' ],

	# maintenance
	[ commit => 'ANALYZE', 'ANALYZE t' ],
	[ commit => 'VACUUM FULL', 'VACUUM FULL other' ],
	[ passes => 'VACUUM: removes only what nobody can see', 'VACUUM t' ],
	[ passes => 'CHECKPOINT: writes what there is', 'CHECKPOINT' ],

	# two-phase commit
	[ before => 'PREPARE TRANSACTION', "BEGIN; INSERT INTO p VALUES (3); PREPARE TRANSACTION 'p3'", undef, 'prepare a transaction' ],
	[ before => 'COMMIT PREPARED', "COMMIT PREPARED 'p1'", undef, 'commit a prepared transaction' ],
	[ before => 'ROLLBACK PREPARED', "ROLLBACK PREPARED 'p2'", undef, 'roll back a prepared transaction' ],

	# files that are made or removed before the commit
	[ before => 'CREATE DATABASE', 'CREATE DATABASE d', undef, 'create a database' ],
	[ before => 'DROP DATABASE', 'DROP DATABASE victim', undef, 'drop a database' ],
	[ before => 'ALTER DATABASE SET TABLESPACE', 'ALTER DATABASE mover SET TABLESPACE place1', undef, 'move a database' ],
	[ before => 'CREATE TABLESPACE', "CREATE TABLESPACE place3 LOCATION '${place}3'", undef, 'create a tablespace' ],
	[ before => 'DROP TABLESPACE', 'DROP TABLESPACE place2', undef, 'drop a tablespace' ],

	# messages
	[ before => 'NOTIFY', 'NOTIFY n', undef, 'notify' ],
	[ cut => 'pg_notify()', "SELECT pg_notify('n', '')" ],
	[ commit => 'a transactional logical message', "SELECT pg_logical_emit_message(true, 'a', 'b')" ],
	[ passes => 'a logical message outside transactions: decoding is held back',
		"SELECT pg_logical_emit_message(false, 'a', 'b')" ],

	# what a node keeps for itself
	[ passes => 'pg_create_restore_point(): a mark in the WAL', "SELECT pg_create_restore_point('r')" ],
	[ passes => 'pg_switch_wal()', 'SELECT pg_switch_wal()' ],
	[ passes => 'a physical slot', "SELECT pg_create_physical_replication_slot('ph'), pg_drop_replication_slot('ph')" ],
	[ passes => 'ALTER SYSTEM', "ALTER SYSTEM SET work_mem = '6MB'" ],
	[ passes => 'pg_reload_conf()', 'SELECT pg_reload_conf()' ],
	[ passes => 'pg_stat_reset()', 'SELECT pg_stat_reset()' ],
	[ passes => 'COPY TO a file', "COPY t TO '$place.copy'" ],

	# what ends with the session or the transaction
	[ passes => 'advisory locks', 'SELECT pg_advisory_lock(1), pg_advisory_xact_lock(2)' ],
	[ passes => 'LISTEN', 'LISTEN n' ],
	[ passes => 'LOCK TABLE', 'BEGIN; LOCK TABLE t IN SHARE MODE; COMMIT' ],
	[ commit => 'LOCK TABLE in a mode that standbys are told', 'BEGIN; LOCK TABLE t; COMMIT' ],
	[ passes => 'a cursor', 'BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; FETCH c; COMMIT' ],
	[ passes => 'EXPLAIN of a write', 'EXPLAIN INSERT INTO t VALUES (409)' ],
	[ passes => 'PREPARE of a write', 'PREPARE e AS INSERT INTO t VALUES (410)' ],
	[ passes => 'ROLLBACK', 'BEGIN; TRUNCATE t; ROLLBACK', 'refused' ],
	[ passes => 'SET', 'SET work_mem = 1000' ],
	[ passes => 'reads', 'SELECT count(*) FROM t' ]);

# (verdict, stderr) of a session of its own
sub verdict
{
	my ($sql, $began) = @_;
	my $err;
	local $ENV{PGOPTIONS} = $began eq 'with a lease' ? '-c default_transaction_read_only=off' : '';
	my $rc = $node->psql('postgres', $sql, timeout => 60, stdout => \my $out, stderr => \$err, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	my $verdict =
		!$rc ? 'passes' :
		$err =~ /ERROR:  25006: cannot commit: this instance does not hold the leader lease/ ? 'commit' :
		$err =~ /ERROR:  25006: cannot (.*): this instance does not hold the leader lease/ ? "before: $1" :
		$err =~ /ERROR:  25006: cannot .* in a read-only transaction/ ? 'read-only' :
		$err =~ /connection.*(?:closed|lost)/ ? 'cut' : 'another error';
	return ($verdict, $err);
}

# All that a transaction could have changed, and the files of databases and tablespaces.
sub contents
{
	my @all = map { $f->value($_) } 'SELECT count(*), sum(i), min(v), max(v) FROM t', 'SELECT count(*) FROM other',
		"SELECT count(*), max(relname) FROM pg_class", 'SELECT count(*) FROM pg_prepared_xacts',
		'SELECT string_agg(datname, chr(32) ORDER BY datname) FROM pg_database',
		'SELECT string_agg(spcname, chr(32) ORDER BY spcname) FROM pg_tablespace',
		'SELECT count(*) FROM pg_roles', "SELECT string_agg(data, '') FROM pg_largeobject",
		'SELECT count(*) FROM pg_index WHERE NOT indisvalid';
	return join ' | ', @all, join ' ', map { scalar(() = glob "$place$_/*/*/*") } 1 .. 3;
}

is($f->fence('state'), 'closed', 'no lease');
my $before = contents();
for my $s (@statements)
{
	my ($verdict, $name, $sql, undef, $message) = @$s;
	my ($got, $err) = verdict($sql, 'with a lease');
	is($got, $verdict eq 'before' ? "before: $message" : $verdict, "session of an earlier lease, $verdict: $name") or diag $err;
	like($err, qr/HINT: /, "$name: with a hint") if $verdict =~ /commit|before/;
}
is(contents(), $before, 'nothing got through');

for my $s (@statements)
{
	my ($verdict, $name, $sql, $new) = @$s;
	$new //= $verdict =~ /commit|before/ ? 'refused' : $verdict;
	my ($got, $err) = verdict($sql, 'without one');
	$got = 'refused' if $got =~ /commit|before|read-only/;
	is($got, $new, "new session, $new: $name") or diag $err;
}
is(contents(), $before, 'nothing got through either');

$f->lease(3_600_000);
for my $s (@statements)
{
	my ($verdict, $err) = verdict($s->[2], 'with a lease');
	is($verdict, 'passes', "with a lease: $s->[1]") or diag $err;
}
isnt(contents(), $before, 'and this changed something');

$node->stop;
done_testing;
