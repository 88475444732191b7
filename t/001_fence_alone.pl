# The fence of a server that nobody leads: started by hand, or without Consul.

use strict;
use warnings;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# Run SQL; (SQLSTATE or '', stderr, seconds)
sub sql
{
	my ($node, $sql) = @_;
	my ($out, $err);
	my $begin = time;
	# as a session of an earlier lease, of which a commit is refused
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off';
	my $rc = $node->psql('postgres', $sql, stdout => \$out, stderr => \$err,
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	my ($state) = $err =~ /(?:ERROR|FATAL):  (\w{5}):/;
	return ($rc ? $state // 'none' : '', $err, time - $begin);
}

sub refused
{
	my ($node, $name, $sql, $message) = @_;
	my ($state, $err) = sql($node, $sql);
	is($state, '25006', "refused: $name");
	like($err, $message, "$name: says what") if $message;
}

sub passes
{
	my ($node, $name, $sql) = @_;
	my ($state, $err) = sql($node, $sql);
	is($state, '', "passes: $name") or diag $err;
}

sub set_conf { my ($node, $name, $value) = @_; $node->append_conf('postgresql.conf', "$name = '$value'") }

sub status { my ($node, $path) = @_; $node->safe_psql('postgres', "SELECT pg_ha_status() #>> '{$path}'") }

my $node = PostgreSQL::Test::Cluster->new('alone');
$node->init;
set_conf($node, max_prepared_transactions => 4);
mkdir $node->basedir . "/place$_" for 1 .. 2;

# without the library: the extension can be created, and says what is missing
$node->start;
passes($node, 'CREATE EXTENSION without the library', 'CREATE EXTENSION pg_ha');
is(status($node, 'reason'), 'the library is not preloaded', 'the status says so');
is(status($node, 'configured'), 'false', 'not configured');
is($node->safe_psql('postgres',
	'SELECT (SELECT count(*) FROM pg_ha_members) + (SELECT count(*) FROM pg_ha_history) + (SELECT count(*) FROM pg_ha_events)'),
	'0', 'the views are empty');
passes($node, 'a write', 'CREATE TABLE t (i int); INSERT INTO t VALUES (1); CREATE TABLE p (i int)');
$node->safe_psql('postgres', "BEGIN; INSERT INTO p VALUES (2); PREPARE TRANSACTION 'before'");
$node->safe_psql('postgres', "CREATE DATABASE victim");
$node->safe_psql('postgres', "CREATE TABLESPACE place1 LOCATION '" . $node->basedir . "/place1'");

# managed, and started by hand
set_conf($node, shared_preload_libraries => 'pg_ha');
set_conf($node, 'pg_ha.managed' => 'on');
$node->restart;
is(status($node, 'configured'), 'false', 'managed: not configured');
like(status($node, 'reason'), qr/belongs to a cluster/, 'managed: the status says why');
is(status($node, 'fence,state'), 'closed', 'managed: the fence is closed');
is($node->safe_psql('postgres', 'SELECT sum(i) FROM t'), '1', 'reads are not fenced');

my (undef, $err, $seconds) = sql($node, 'INSERT INTO t VALUES (3)');
like($err, qr/25006: cannot commit: this instance does not hold the leader lease/, 'the error');
like($err, qr/HINT: .*pg_ha_launcher/, 'its hint');
cmp_ok($seconds, '<', 5, 'nobody waits for a lease that cannot come');
refused($node, 'explicit COMMIT', 'BEGIN; INSERT INTO t VALUES (3); COMMIT');
refused($node, 'DO with COMMIT', 'DO $$BEGIN INSERT INTO t VALUES (3); COMMIT; END$$');
refused($node, 'DDL', 'CREATE TABLE u (i int)');
refused($node, 'a temporary table', 'CREATE TEMP TABLE u (i int)');
refused($node, 'TRUNCATE', 'TRUNCATE t');
refused($node, 'COPY', "COPY t FROM PROGRAM 'echo 3'");
refused($node, 'synchronous_commit = off', 'SET synchronous_commit = off; INSERT INTO t VALUES (3)');
refused($node, 'PREPARE TRANSACTION', "BEGIN; INSERT INTO t VALUES (3); PREPARE TRANSACTION 'now'",
	qr/cannot prepare a transaction/);
refused($node, 'COMMIT PREPARED', "COMMIT PREPARED 'before'", qr/cannot commit a prepared transaction/);
refused($node, 'ROLLBACK PREPARED', "ROLLBACK PREPARED 'before'", qr/cannot roll back a prepared/);
refused($node, 'CREATE DATABASE', 'CREATE DATABASE d', qr/cannot create a database/);
refused($node, 'DROP DATABASE', 'DROP DATABASE victim', qr/cannot drop a database/);
refused($node, 'ALTER DATABASE SET TABLESPACE', 'ALTER DATABASE victim SET TABLESPACE place1',
	qr/cannot move a database/);
refused($node, 'CREATE TABLESPACE',
	"CREATE TABLESPACE place2 LOCATION '" . $node->basedir . "/place2'", qr/cannot create a tablespace/);
refused($node, 'DROP TABLESPACE', 'DROP TABLESPACE place1', qr/cannot drop a tablespace/);
refused($node, 'NOTIFY', 'NOTIFY n', qr/cannot notify/);
passes($node, 'ROLLBACK', 'BEGIN; INSERT INTO t VALUES (3); ROLLBACK');
passes($node, 'a transaction that writes nothing', 'BEGIN; SELECT * FROM t; COMMIT');
is($node->safe_psql('postgres', 'SELECT sum(i) FROM t'), '1', 'nothing got through');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_prepared_xacts"), '1', 'nor was the prepared one touched');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_database WHERE datname IN ('d', 'victim')"), '1', 'nor a database');
cmp_ok(status($node, 'fence,refused'), '>=', 17, 'refusals are counted');

# an id that is assigned after the check: the connection ends, without an answer
(undef, $err) = sql($node, "SELECT pg_notify('n', '')");
like($err, qr/connection/, 'pg_notify() is cut off');
is(status($node, 'fence,cut'), '1', 'and counted');
like(slurp_file($node->logfile), qr/ended a connection instead of acknowledging/, 'and explained in the log');

# owned settings
for my $set ("primary_conninfo = ''", "recovery_target_lsn = '0/0'", 'port = 1', 'wal_log_hints = off',
	'max_connections = 500', 'pg_ha.fence_wait = 0', "shared_preload_libraries = ''", 'cluster_name TO x')
{
	my ($state, $stderr) = sql($node, "ALTER SYSTEM SET $set");
	is($state, '55P02', "ALTER SYSTEM SET $set is refused");
	like($stderr, qr/HINT:  .*(pg_ha_launcher --edit-config|Add it to the list)/, 'with a hint');
}
passes($node, 'ALTER SYSTEM on another setting', "ALTER SYSTEM SET work_mem = '5MB'");
passes($node, 'libraries with pg_ha among them', "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', '\$libdir/pg_ha'");
passes($node, 'ALTER SYSTEM RESET on an owned setting', 'ALTER SYSTEM RESET primary_conninfo');
passes($node, 'ALTER SYSTEM SET ... TO DEFAULT', 'ALTER SYSTEM SET wal_log_hints TO DEFAULT');
passes($node, 'RESET ALL', 'ALTER SYSTEM RESET ALL');

# a crash leaves it closed
$node->stop('immediate');
$node->start;
refused($node, 'INSERT after a crash', 'INSERT INTO t VALUES (3)');

# single-user mode is what pg_rewind and pg_upgrade run: inert
$node->stop;
my $single = "INSERT INTO t VALUES (4);\nALTER SYSTEM SET port = 1;\nALTER SYSTEM RESET port;\n";
my $out;
IPC::Run::run([ 'postgres', '--single', '-D', $node->data_dir, 'postgres' ], '<', \$single, '>', \$out, '2>', \$err);
is($?, 0, 'single-user mode');
unlike($err, qr/ERROR|WARNING/, 'it is not fenced') or diag $err;
$node->start;
is($node->safe_psql('postgres', 'SELECT sum(i) FROM t'), '5', 'single-user mode wrote');

# a worker that cannot reach Consul: commits wait
my $free = PostgreSQL::Test::Cluster::get_free_port();
mkdir $node->basedir . '/state', 0700;
set_conf($node, 'pg_ha.scope' => 'alone');
set_conf($node, 'pg_ha.name' => 'n1');
set_conf($node, 'pg_ha.consul_urls' => "http://127.0.0.1:$free");
set_conf($node, 'pg_ha.connect_address' => '127.0.0.1:' . $node->port);
set_conf($node, "pg_ha.$_" => $node->basedir . '/state') for qw(state_directory run_directory);
set_conf($node, 'pg_ha.fence_wait' => '1s');
$node->restart;
$node->poll_query_until('postgres', "SELECT (pg_ha_status()->>'worker_pid')::int > 0") or die 'no worker';
is(status($node, 'configured'), 'true', 'configured');
is(status($node, 'fence,state'), 'closed', 'without Consul the fence is closed');
my $state;
($state, $err, $seconds) = sql($node, 'INSERT INTO t VALUES (3)');
is($state, '25006', 'INSERT is refused');
cmp_ok($seconds, '>=', 1, 'after fence_wait');
cmp_ok($seconds, '<', 8, 'and not much later');
cmp_ok(status($node, 'fence,waited'), '>=', 1, 'waits are counted');

set_conf($node, 'pg_ha.fence_wait' => '0');
$node->reload;
$node->poll_query_until('postgres', "SELECT setting = '0' FROM pg_settings WHERE name = 'pg_ha.fence_wait'");
my $waited = status($node, 'fence,waited');
refused($node, 'INSERT with fence_wait = 0', 'INSERT INTO t VALUES (3)', qr/HINT:  Connect to the leader \(target_session_attrs=read-write\)/);
is(status($node, 'fence,waited'), $waited, 'without waiting');

set_conf($node, 'pg_ha.fence_reads' => 'on');
$node->reload;
$node->poll_query_until('postgres', "SELECT setting = 'on' FROM pg_settings WHERE name = 'pg_ha.fence_reads'");
refused($node, 'a read with fence_reads', 'SELECT * FROM t', qr/HINT:  Reads are refused because pg_ha.fence_reads is on/);
set_conf($node, 'pg_ha.fence_reads' => 'off');
set_conf($node, 'pg_ha.fence_wait' => '100s');
$node->reload;
$node->poll_query_until('postgres', "SELECT setting = '100000' FROM pg_settings WHERE name = 'pg_ha.fence_wait'");
for my $how ('INSERT INTO t VALUES (3)', 'BEGIN; INSERT INTO t VALUES (3); COMMIT',
	'DO $$BEGIN INSERT INTO t VALUES (3); COMMIT; END$$', "COMMIT PREPARED 'before'")
{
	($state, undef, $seconds) = sql($node, "SET statement_timeout = 500; $how");
	is($state, '57014', "statement_timeout ends the wait: $how");
	cmp_ok($seconds, '<', 50, 'in time');
}

# cancel
my ($waiter_out, $waiter_err) = ('', '');
my $waiter = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'INSERT INTO t VALUES (3)' ],
	'>', \$waiter_out, '2>', \$waiter_err, IPC::Run::timeout(60));
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'Extension' AND backend_type = 'client backend'");
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'Extension' AND backend_type = 'client backend'");
$waiter->finish;
like($waiter_err, qr/canceling statement due to user request/, 'cancel ends the wait');
is($node->safe_psql('postgres', 'SELECT sum(i) FROM t'), '5', 'nothing got through');

# no slot left for the worker
set_conf($node, max_worker_processes => 1);
$node->restart;
is(status($node, 'reason'), 'no worker: max_worker_processes is used up', 'no slot: the status says so');
like(status($node, 'hint'), qr/max_worker_processes/, 'with a hint');
like(slurp_file($node->logfile), qr/WARNING:  pg_ha has no worker/, 'the log too');
set_conf($node, 'pg_ha.fence_wait' => '0');
$node->reload;
$node->poll_query_until('postgres', "SELECT setting = '0' FROM pg_settings WHERE name = 'pg_ha.fence_wait'");
refused($node, 'INSERT without a worker', 'INSERT INTO t VALUES (3)');

$node->stop;
done_testing;
