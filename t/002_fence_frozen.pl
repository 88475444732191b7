# A backend that is frozen anywhere between the fence's check and its send()
# acknowledges nothing once the lease has run out.

use strict;
use warnings;
use IPC::Run ();
use PgHa::Fence;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $tools = PostgreSQL::Test::Utils::tempdir();
my $stop_at_send = PgHa::Fence::build('stop_at_send', '-ldl');

use constant LEASE_MS => 1500;

my $f = PgHa::Fence->new('frozen', init => { allows_streaming => 1 }, objects => [ 'CREATE TABLE t (i int)' ]);
my $node = $f->node;

# TLS clients connect by TCP
my $data = $node->data_dir;
my $has_tls = system("openssl req -new -x509 -days 2 -nodes -subj /CN=localhost -keyout $data/server.key -out $data/server.crt >$tools/openssl 2>&1") == 0;
chmod 0600, "$data/server.key";
$node->append_conf('postgresql.conf', $has_tls ? "ssl = on\nlisten_addresses = '127.0.0.1'" : '');

my ($out, $err);
my $stop_file = "$tools/stop";
sub start
{
	local $ENV{LD_PRELOAD} = $stop_at_send;
	local $ENV{STOP_AT_SEND} = $stop_file;
	$node->start;
}
start();

sub value { $f->value($_[0]) }
sub lease { $f->lease($_[0] // LEASE_MS) }
sub fence { $f->fence($_[0]) }
sub wait_for { $f->wait_for(@_) }
sub stopped { $f->stopped($_[0]) }

# how the sessions that are frozen connect
my $client = $node->connstr('postgres');

# Simple queries in a session of its own.
sub begin
{
	my %session = (out => '', err => '');
	$session{run} = IPC::Run::start([ 'psql', '-XA', '-d', "$client application_name=frozen",
		map { ('-c', $_) } @_ ], '>', \$session{out}, '2>', \$session{err}, IPC::Run::timeout(60));
	return \%session;
}

sub backend { value("SELECT pid FROM pg_stat_activity WHERE application_name = 'frozen'") }

# The session stops somewhere; the lease runs out, or is renewed; it goes on.
sub freeze
{
	my ($name, $where, $sql, %o) = @_;
	lease();
	my $session = begin($o{late_timer} ? 'SELECT probe_block_timer()' : (), $where eq 'sending' ? () : "SELECT probe_stop('$where')", $sql);
	my $pid;
	wait_for("the backend of '$name'", sub { $pid = backend() });
	wait_for("'$name' to stop", sub { stopped($pid) });
	wait_for('the lease to run out', sub { fence('state') eq 'closed' });
	lease(10_000) if $o{renew};
	kill 'CONT', $pid;
	$session->{run}->finish;
	if ($o{renew})
	{
		is($session->{err}, '', "$name: acknowledged, the lease was renewed meanwhile");
		return;
	}
	unlike($session->{out}, qr/INSERT|ALTER|COMMIT|PREPARE|COPY|DO/, "$name: no acknowledgement");
	like($session->{err}, qr/connection .*(closed|lost|terminated)|connection to server was lost/, "$name: the connection ends");
}

# at the end of a transaction: whoever calls send() next stops there
my $in_send = "COPY (SELECT 1) TO '$stop_file'";

for my $commit (
	[ 'autocommit', 'INSERT INTO t VALUES (1)' ],
	[ 'synchronous_commit = off', 'SET LOCAL synchronous_commit = off; INSERT INTO t VALUES (1)' ],
	[ 'DDL', 'ALTER TABLE t SET (fillfactor = 90)' ])
{
	my ($name, $sql) = @$commit;
	freeze("$name, after the check", 'checked', $sql);
	freeze("$name, after the record", 'committed', $sql);
	freeze("$name, in send()", 'sending', "$sql; $in_send");
}
freeze('COMMIT, after the check', 'checked', 'BEGIN; INSERT INTO t VALUES (1); COMMIT');
freeze('COMMIT, after the record', 'committed', 'BEGIN; INSERT INTO t VALUES (1); COMMIT');
freeze('COMMIT, in send()', 'sending', "BEGIN; INSERT INTO t VALUES (1); $in_send; COMMIT");
my $do = 'DO $$BEGIN INSERT INTO t VALUES (1); COMMIT; END$$';
freeze('DO with COMMIT, after the check', 'checked', $do);
freeze('DO with COMMIT, after the record', 'committed', $do);
$do =~ s/END/EXECUTE \$q\$$in_send\$q\$; END/;
freeze('DO with COMMIT, in send()', 'sending', $do);
freeze('PREPARE TRANSACTION, after the check', 'checked', "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'a'");
freeze('PREPARE TRANSACTION, after the record', 'committed', "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'b'");
is(value('SELECT count(*) FROM pg_prepared_xacts'), '2', 'both are prepared, and nobody was told');
freeze('COMMIT PREPARED, after the record', 'committed', "COMMIT PREPARED 'a'");
freeze('ROLLBACK PREPARED, after the record', 'committed', "ROLLBACK PREPARED 'b'");
is(value('SELECT count(*) FROM pg_prepared_xacts'), '0', 'both are finished, and nobody was told');
cmp_ok(value('SELECT count(*) FROM t'), '>', 5, 'what was cut is on disk, as with any lost connection');
cmp_ok(fence('cut'), '>=', 16, 'cuts are counted');

# the timer comes late: the messages are looked at, too
freeze("late timer, after the $_->[0]", $_->[1], 'INSERT INTO t VALUES (1)', late_timer => 1)
	for [ check => 'checked' ], [ record => 'committed' ];

# over TLS, too
SKIP:
{
	skip 'no openssl', 1 if !$has_tls;
	$client = 'host=127.0.0.1 sslmode=require dbname=postgres port=' . $node->port;
	is($node->psql('postgres', 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()', connstr => $client, stdout => \my $tls), 0, 'TLS: connects');
	is($tls, 't', 'TLS: encrypted');
	my ($rc, $stdout, $stderr) = $node->psql('postgres', 'INSERT INTO t VALUES (1)', connstr => $client, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($stderr, qr/25006/, 'TLS: refused without the lease');
	freeze('TLS, after the check', 'checked', 'INSERT INTO t VALUES (1)');
	freeze('TLS, after the record', 'committed', 'INSERT INTO t VALUES (1)');
	freeze("TLS, late timer, after the $_->[0]", $_->[1], 'INSERT INTO t VALUES (1)', late_timer => 1)
		for [ check => 'checked' ], [ record => 'committed' ];
	freeze('TLS, in send()', 'sending', "INSERT INTO t VALUES (1); $in_send");
	freeze('TLS, renewed, sending', 'sending', "INSERT INTO t VALUES (1); $in_send", renew => 1);
	$client = $node->connstr('postgres');
	$node->stop;
	start();
}

# the deadline only grows
{
	lease(4000);
	lease(100);
	cmp_ok(fence('remaining_ms'), '>', 2000, 'an earlier end, from an answer that was overtaken, changes nothing');
	wait_for('the lease to run out', sub { fence('state') eq 'closed' });

	# why: a timer that is armed for the promised end does not fire at another
	lease(60_000);
	my $session = begin("INSERT INTO t VALUES (1); $in_send");
	my $pid;
	wait_for('the backend', sub { $pid = backend() });
	wait_for('it to stop', sub { stopped($pid) });
	value('SELECT probe_shorten(0)');
	is(fence('state'), 'closed', 'were it shortened,');
	kill 'CONT', $pid;
	$session->{run}->finish;
	like($session->{out}, qr/^COPY 1$/m, 'a commit would be acknowledged after the end');
	$node->stop;
	start();
}

# a commit that waits for a standby outlives its lease
{
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
	$node->reload;
	wait_for('the standby names', sub { value("SHOW synchronous_standby_names") eq 'nobody' });
	lease();
	my $session = begin('INSERT INTO t VALUES (1)');
	$session->{run}->finish;
	unlike($session->{out}, qr/INSERT/, 'a commit that waited for a standby longer than the lease: no acknowledgement');
	is(fence('state'), 'closed', 'cut at the end of the lease, not before');
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$node->reload;
	wait_for('the standby names', sub { value("SHOW synchronous_standby_names") eq '' });
}

# a lease that was renewed meanwhile costs nothing
freeze("renewed, $_", $_, 'INSERT INTO t VALUES (1)', renew => 1) for 'checked', 'committed';
freeze('renewed, sending', 'sending', "INSERT INTO t VALUES (1); $in_send", renew => 1);
$node->stop;
start();
is(fence('state'), 'closed', 'a restart closes the fence');

# a session that lives longer than many leases
{
	lease(1000);
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
		'<', \(join '', map { "INSERT INTO t VALUES ($_);\nSELECT probe_extend(300), pg_sleep(0.1);\n" } 1 .. 30),
		'>', \$out, '2>', \$err, IPC::Run::timeout(120));
	$session->finish;
	is($err, '', 'a session that commits under thirty leases goes on');
}

# an error after the check leaves nothing pending
wait_for('the lease to run out', sub { fence('state') eq 'closed' });
{
	lease(400);
	my $sql = join '', map { "$_;\n" } 'CREATE TEMP TABLE d (i int UNIQUE DEFERRABLE INITIALLY DEFERRED)', 'INSERT INTO d VALUES (1), (1)',
		'SELECT pg_sleep(0.6)', "SELECT 'still here'";
	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$sql, '>', \$out, '2>', \$err);
	like($out, qr/still here/, 'an aborted commit does not cost the connection');
}

# paused: open without end, and the count of those let through
{
	value('SELECT probe_without_end(true)');
	is(fence('state'), 'open', 'paused: open');
	is(fence('remaining_ms'), '0', 'without any lease');
	value('INSERT INTO t VALUES (1)');
	is(value('SELECT probe_committing()'), '0', 'a commit that was acknowledged is not counted');
	my $session = begin("INSERT INTO t VALUES (1); $in_send");
	my $pid;
	wait_for('the backend', sub { $pid = backend() });
	wait_for('it to stop', sub { stopped($pid) });
	is(value('SELECT probe_committing()'), '1', 'one that was not, is');
	value('SELECT probe_without_end(false)');
	is(fence('state'), 'closed', 'the pause ends: closed');
	is(value('SELECT probe_committing()'), '1', 'still counted');
	kill 'CONT', $pid;
	$session->{run}->finish;
	like($session->{out}, qr/^COPY 1$/m, 'it may be acknowledged, because the leader waits for it');
	wait_for('the count to fall', sub { value('SELECT probe_committing()') eq '0' });
	my ($rc) = $node->psql('postgres', 'INSERT INTO t VALUES (1)');
	isnt($rc, 0, 'new commits are refused');
}

# counted, then ended
{
	value('SELECT probe_without_end(true)');
	my $session = begin("SELECT probe_stop('committed')", 'INSERT INTO t VALUES (1)');
	my $pid;
	wait_for('the backend', sub { $pid = backend() });
	wait_for('it to stop', sub { stopped($pid) });
	is(value('SELECT probe_committing()'), '1', 'counted');
	kill 'TERM', $pid;
	kill 'CONT', $pid;
	$session->{run}->finish;
	wait_for('the count to fall', sub { value('SELECT probe_committing()') eq '0' });
	pass('a backend that is terminated gives its count back');
}

$node->stop;
done_testing;
