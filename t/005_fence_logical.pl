# A logical subscriber gets no change that was not covered by the lease when it
# left, and gets all of them once the lease is back.  A physical standby goes
# on as ever.

use strict;
use warnings;
use IPC::Run ();
use PgHa::Fence;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use constant LEASE_MS => 1500;

my $tools = PostgreSQL::Test::Utils::tempdir();
my $stop_file = "$tools/stop";
my $stop_at_send = PgHa::Fence::build('stop_at_send', '-ldl');
my $f = PgHa::Fence->new('publisher', init => { allows_streaming => 'logical' },
	objects => [ 'CREATE TABLE t (i int PRIMARY KEY)', 'CREATE TABLE big (i int, v text)' ], conf => "wal_sender_timeout = 60s\n");
my $node = $f->node;
sub start
{
	local $ENV{LD_PRELOAD} = $stop_at_send;
	local $ENV{STOP_AT_SEND} = $stop_file;
	$node->start;
}
start();
$f->lease(LEASE_MS);
$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('$_', 'test_decoding')") for 'changes';

# pg_recvlogical, writing to a file; it connects again on its own, after 5 s
my $received = "$tools/received";
sub receive
{
	return IPC::Run::start([ 'pg_recvlogical', '-d', $node->connstr('postgres'), '-S', 'changes', '--start', '-f', $received,
		'-F', '0', '-s', '1', '-o', 'include-xids=0', @_ ], '2>', "$tools/receiver.err");
}
sub received { return -e $received ? slurp_file($received) : '' }
sub has { my ($i) = @_; return received() =~ /^table public.t: INSERT: i\[integer\]:$i$/m }
sub walsender { $f->value("SELECT coalesce((SELECT pid FROM pg_stat_replication), 0)") }

# The lease is renewed while the receiver is waiting to connect.
sub wait_sender
{
	my $pid;
	$f->wait_for('the walsender', sub { $f->lease(LEASE_MS); $pid = walsender() });
	return $pid;
}
sub insert { $f->lease(LEASE_MS); $f->value("INSERT INTO t VALUES ($_[0])") }
sub gone { my ($pid) = @_; $f->wait_for("the end of $pid", sub { !kill 0, $pid }) }

my $receiver = receive();
END { local $?; $receiver->signal('TERM'), $receiver->finish if $receiver }
my $sender = wait_sender();
insert(1);
$f->wait_for('row 1', sub { has(1) });
pass('under the lease changes are sent');

# frozen before it sends, and resumed when the lease is over
$f->freeze($sender);
insert(2);
$f->run_out;
kill 'CONT', $sender;
gone($sender);
ok(!has(2), 'a walsender that was frozen until the lease was over sends nothing, and ends');
sub ended { return scalar(() = slurp_file($node->logfile) =~ /ended a logical replication connection/g) }
cmp_ok(my $ended = ended(), '>=', 1, 'and says so in the log');
$f->wait_for('the next one', sub { ended() > $ended });
ok(!has(2), 'nor does the next one');
$f->lease(30_000);
$f->wait_for('row 2', sub { has(2) });
pass('the change arrives when the lease is back');
$node->stop;
start();
is($f->fence('state'), 'closed', 'a restart closes the fence');

# frozen in send(): the timer ends the connection before anything leaves.  With
# the receiver having told how far it is, no keepalive comes first.
$sender = wait_sender();
$f->wait_for('the feedback', sub { $f->lease(LEASE_MS); $f->value('SELECT write_lsn >= sent_lsn FROM pg_stat_replication') eq 't' });
my $before = received();
$f->freeze($sender);
insert(3);
PostgreSQL::Test::Utils::append_to_file($stop_file, '');
kill 'CONT', $sender;
$f->wait_for('the walsender to stop in send()', sub { !-e $stop_file && $f->stopped($sender) });
$f->run_out;
kill 'CONT', $sender;
gone($sender);
is(received(), $before, 'one that was frozen in send() sends nothing either, not even BEGIN');
$f->lease(30_000);
$f->wait_for('row 3', sub { has(3) });
pass('again the change arrives when the lease is back');

# a worker that may bring the lease back: changes wait for it
my $free = PostgreSQL::Test::Cluster::get_free_port();
mkdir "$tools/state", 0700;
$node->append_conf('postgresql.conf', <<"CONF");
pg_ha.scope = 'publisher'
pg_ha.name = 'n1'
pg_ha.consul_urls = 'http://127.0.0.1:$free'
pg_ha.connect_address = '127.0.0.1:5432'
pg_ha.state_directory = '$tools/state'
pg_ha.run_directory = '$tools/state'
pg_ha.fence_wait = '600s'
CONF
$node->restart;
$sender = wait_sender();
$f->freeze($sender);
insert(4);
$f->run_out;
kill 'CONT', $sender;
$f->wait_for('the walsender to wait', sub { $f->value("SELECT wait_event = 'Extension' FROM pg_stat_activity WHERE pid = $sender") eq 't' });
ok(!has(4), 'with a worker the change waits');
$f->lease(LEASE_MS);
$f->wait_for('row 4', sub { has(4) });
is(walsender(), $sender, 'and arrives on the same connection');
$f->freeze($sender);
insert(5);
$f->run_out;
kill 'CONT', $sender;
$f->wait_for('the walsender to wait', sub { $f->value("SELECT wait_event = 'Extension' FROM pg_stat_activity WHERE pid = $sender") eq 't' });
my $begin = time;
$node->stop('fast');
cmp_ok(time - $begin, '<', 60, 'a stop does not wait for it');
$receiver->signal('TERM');
$receiver->finish;
undef $receiver;

# physical: not fenced, a receiver can be rewound
$node->append_conf('postgresql.conf', "pg_ha.scope = ''");
$node->start;
is($f->fence('state'), 'closed', 'no lease');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$node->backup('b');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $f->value("SELECT pg_create_restore_point('x')"));
pass('a physical standby streams on without the lease');

# without the lease decoding on a standby is none of the fence's business, and
# plain sessions there are not announced as read-only by it
is($standby->safe_psql('postgres', 'SHOW default_transaction_read_only'), 'off', 'the fence has no say on a standby');
$standby->stop;
$node->stop;
done_testing;
