# What sessions of a fenced primary are told: read-only by default, so that
# clients go on to the next host; reads refused, if so configured; and an
# autovacuum that is quiet.

use strict;
use warnings;
use IPC::Run ();
use PgHa::Fence;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $f = PgHa::Fence->new('sessions', objects => [
	'CREATE TABLE t (i int)', 'INSERT INTO t VALUES (1)', 'CREATE VIEW v AS SELECT * FROM t',
	'CREATE TABLE dead (i int)', 'INSERT INTO dead SELECT generate_series(1, 1000)', 'DELETE FROM dead',
	"CREATE FUNCTION reads() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM t); END'",
	'CREATE ROLE plain LOGIN', 'GRANT SELECT ON t, v TO plain', 'GRANT pg_monitor TO plain',
	'CREATE ROLE reader LOGIN', 'ALTER ROLE reader SET default_transaction_read_only = on' ]);
my $node = $f->node;
$node->start;

# A session that stays: ask() sends a query and returns its result or error.
package Session
{
	sub new
	{
		my ($class, %o) = @_;
		my $self = bless { in => '', out => '', n => 0 }, $class;
		local $ENV{PGOPTIONS} = $o{options} // '';
		$self->{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d',
			$node->connstr('postgres') . ($o{connstr} ? " $o{connstr}" : ''), '-f', '-' ],
			'<', \$self->{in}, '>', \$self->{out}, '2>&1', IPC::Run::timeout(120));
		$self->ask('SELECT 1');
		return $self;
	}

	sub ask
	{
		my ($self, $sql) = @_;
		my $n = ++$self->{n};
		$self->{out} = '';
		$self->{in} .= "$sql;\n\\echo done $n\n";
		$self->{run}->pump until $self->{out} =~ s/^done $n\n//m;
		return $self->{out} =~ s/\n\z//r;
	}

	sub end { my ($self) = @_; $self->{in} = "\\q\n"; $self->{run}->finish }
}

# Where does a client go that wants to write?
sub may_connect
{
	my ($attributes) = @_;
	my ($out, $err);
	return IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . " target_session_attrs=$attributes", '-c', 'SELECT 1' ],
		'>', \$out, '2>', \$err) ? '' : $err;
}

my $no_lease = qr/ERROR:  25006: cannot [^:]+: this instance does not hold the leader lease/;

# ---------------------------------------------------------------------------
# Announced as read-only, and writable again

like(may_connect('read-write'), qr/session is read-only/, 'no lease: target_session_attrs=read-write passes this instance by');
is(may_connect('read-only'), '', 'read-only does not');
is(may_connect('any'), '', 'nor does any');

my $plain = Session->new;
is($plain->ask('SHOW default_transaction_read_only'), 'on', 'a new session is read-only by default');
is($plain->ask('SHOW transaction_read_only'), 'on', 'and its transactions are, which older clients ask');
is($plain->ask('SELECT count(*) FROM t'), '1', 'it reads');
my $said = $plain->ask('INSERT INTO t VALUES (2)');
like($said, qr/$no_lease/, 'a write is refused');
like($said, qr/HINT/, 'with a hint');
like($plain->ask('WITH w AS (INSERT INTO t VALUES (2) RETURNING 1) SELECT * FROM w'), $no_lease, 'a writing CTE');
like($plain->ask('SELECT * FROM t FOR UPDATE'), $no_lease, 'a row lock');
like($plain->ask('CREATE TABLE u (i int)'), $no_lease, 'DDL');
like($plain->ask("COPY t FROM PROGRAM 'echo 2'"), $no_lease, 'COPY');
unlike($said, qr/DETAIL/, 'no leader is known');
$f->value("SELECT probe_leader('n2')");
like($plain->ask('INSERT INTO t VALUES (2)'), qr/DETAIL:  The last known leader is "n2"\./, 'one that is known is named');
$f->value("SELECT probe_leader('')");
unlike($plain->ask('EXPLAIN INSERT INTO t VALUES (2)'), qr/ERROR/, 'an EXPLAIN is no write');
unlike($plain->ask('PREPARE p AS INSERT INTO t VALUES (2)'), qr/ERROR/, 'nor is PREPARE');

my %session = (
	insert => Session->new, utility => Session->new, block => Session->new, begun => Session->new,
	show => Session->new, two => Session->new, savepoint => Session->new, serializable => Session->new,
	chosen => Session->new, transaction => Session->new, set_off => Session->new, reset => Session->new,
	forced => Session->new(options => '-c default_transaction_read_only=off'),
	reader => Session->new(connstr => 'user=reader'));
is($session{forced}->ask('SHOW default_transaction_read_only'), 'off', 'what the client asked for at its start is respected');
like($session{forced}->ask('INSERT INTO t VALUES (2)'), qr/cannot commit/, 'and its commit is refused');
$session{set_off}->ask('SET default_transaction_read_only = off');
is($session{set_off}->ask('SHOW transaction_read_only'), 'off', 'a session may SET it off');
like($session{set_off}->ask('INSERT INTO t VALUES (2)'), qr/cannot commit/, 'and its commit is refused');
$session{chosen}->ask('SET default_transaction_read_only = on');
$session{reset}->ask('SET default_transaction_read_only = on');
$session{begun}->ask('BEGIN');
$session{begun}->ask('SELECT count(*) FROM t');
$session{savepoint}->ask('BEGIN; SAVEPOINT a');
$session{transaction}->ask('BEGIN READ ONLY');
$session{serializable}->ask("SET default_transaction_isolation = 'serializable'");

$f->lease(600_000);
my $rows = 1;
sub writes
{
	my ($name, $session, $sql, $n) = @_;
	is($session->ask($sql), '', $name);
	$rows += $n // 1;
	is($f->value('SELECT count(*) FROM t'), $rows, "$name: it is there");
}
is(may_connect('read-write'), '', 'the lease is back: read-write connects');
writes('the session that was refused writes at its next statement', $plain, 'INSERT INTO t VALUES (2)');
is($plain->ask('SHOW default_transaction_read_only'), 'off', 'as if it had never been told');
writes('a session writes at its first statement', $session{insert}, 'INSERT INTO t VALUES (2)');
writes('so does COPY', $session{utility}, "COPY t FROM PROGRAM 'echo 2'");
writes('so does a block', $session{block}, 'BEGIN; INSERT INTO t VALUES (2); COMMIT');
writes('so does a block that began, and read, without the lease', $session{begun}, 'INSERT INTO t VALUES (2); COMMIT');
is($session{show}->ask('SHOW transaction_read_only'), 'off', 'SHOW transaction_read_only at its first statement');
writes('two statements in one message', $session{two}, 'SELECT 1 WHERE false \; INSERT INTO t VALUES (2)');
writes('before and after the end of a savepoint', $session{savepoint},
	'INSERT INTO t VALUES (2); RELEASE a; INSERT INTO t VALUES (2); COMMIT', 2);
$session{serializable}->ask('INSERT INTO t VALUES (0) ON CONFLICT DO NOTHING');
$rows = $f->value('SELECT count(*) FROM t');
writes('a serializable session, at its second statement at the latest', $session{serializable}, 'INSERT INTO t VALUES (2)');
writes('the one that set it off', $session{set_off}, 'INSERT INTO t VALUES (2)');
writes('the one whose client did', $session{forced}, 'INSERT INTO t VALUES (2)');
my $read_only = qr/ERROR:  25006: cannot execute INSERT in a read-only transaction/;
like($session{chosen}->ask('INSERT INTO t VALUES (2)'), $read_only, 'a session that set it on stays read-only');
like($session{reader}->ask('INSERT INTO t VALUES (2)'), $read_only, 'so does one whose role has it so');
like($session{transaction}->ask('INSERT INTO t VALUES (2)'), $read_only, 'and a transaction that began READ ONLY');
is($session{transaction}->ask('ROLLBACK'), '', 'until its end');
writes('then it writes', $session{transaction}, 'INSERT INTO t VALUES (2)');
$session{reset}->ask('SELECT 1');
$session{reset}->ask('RESET default_transaction_read_only');
writes('RESET finds the value of before', $session{reset}, 'INSERT INTO t VALUES (2)');
$_->end for values %session, $plain;

# ---------------------------------------------------------------------------
# Reads

my $admin = Session->new;
my $reading = Session->new(connstr => 'user=plain');
$reading->ask('BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; FETCH 1 FROM c');
$f->set('pg_ha.fence_reads' => 'on');
is($reading->ask('SELECT count(*) > 0 FROM t'), 't', 'fence_reads: with the lease reads pass');
$node->restart;
$admin->end; $reading->end;
is($f->fence('state'), 'closed', 'no lease');
$reading = Session->new(connstr => 'user=plain');
for my $sql ('SELECT * FROM t', 'SELECT * FROM v', 'SELECT reads()', 'SELECT 1 WHERE EXISTS (SELECT FROM t)', 'COPY t TO STDOUT',
	'COPY (SELECT * FROM t) TO STDOUT', 'EXPLAIN ANALYZE SELECT * FROM t', 'PREPARE q AS SELECT * FROM t; EXECUTE q',
	'BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; FETCH 1 FROM c; ROLLBACK')
{
	$reading->ask('ROLLBACK');
	like($reading->ask($sql), $no_lease, "fence_reads: refused: $sql");
}
for my $sql ('SELECT 1', 'SELECT pg_is_in_recovery()', 'SHOW transaction_read_only', 'SELECT count(*) > 0 FROM pg_class', 'EXPLAIN SELECT * FROM t',
	"SELECT pg_ha_status()->'fence'->>'state'", map { "SELECT count(*) >= 0 FROM $_" } qw(pg_ha_members pg_ha_history pg_ha_events pg_ha_rules))
{
	unlike($reading->ask($sql), qr/ERROR/, "fence_reads: passes: $sql");
}
$f->lease(600);
$reading->ask('ROLLBACK');
$reading->ask('BEGIN; DECLARE c CURSOR FOR SELECT * FROM t');
is($reading->ask('FETCH 1 FROM c'), '1', 'a cursor of a lease');
$f->run_out;
like($reading->ask('FETCH 1 FROM c'), $no_lease, 'is refused when that is over');
$reading->end;
$f->set('pg_ha.fence_reads' => 'off');
is($f->value('SELECT count(*) > 0 FROM t'), 't', 'off: reads pass again');

# ---------------------------------------------------------------------------
# Autovacuum

my $offset = -s $node->logfile;
$f->set(autovacuum => 'on', autovacuum_naptime => '1', autovacuum_analyze_threshold => 1, log_min_messages => 'debug1');
$f->wait_for('autovacuum', sub { slurp_file($node->logfile, $offset) =~ /autovacuum worker ends without the leader lease/ });
unlike(slurp_file($node->logfile, $offset), qr/ERROR|FATAL|PANIC/, 'autovacuum without the lease logs no error');
is($f->value("SELECT count(*) FROM pg_stat_user_tables WHERE last_autovacuum IS NOT NULL OR last_autoanalyze IS NOT NULL"), '0', 'and does nothing');
$f->lease(600_000);
$f->wait_for('autovacuum to work', sub {
	$f->value("SELECT count(*) FROM pg_stat_user_tables WHERE relname = 't' AND last_autoanalyze IS NOT NULL") eq '1' ||
		$f->value('INSERT INTO t SELECT generate_series(1, 100)') });
pass('with the lease it works');

$node->stop;
done_testing;
