# Whatever part of the leader's node dies, the cluster serves again and nothing
# acknowledged is lost.

use strict;
use warnings;
use PgHa::Cluster qw(wait_until);
use Test::More;

my $c = PgHa::Cluster->new(members => 3, ttl => 3);
$c->start;

# Do something to the leader under a writing client.
sub under_load
{
	my ($what, $fault, %o) = @_;
	my $leader = $c->leader;
	my $w = $c->start_writer(200);
	$c->wait_writing($w, 10, 100);
	$fault->($leader);
	$c->wait_writing($w, 30, 200);
	my $r = $c->stop_writer($w);
	note "$what: gap $r->{gap_ms} ms";
	# replication is asynchronous: a node that dies as a whole may take along
	# what it had not sent yet
	cmp_ok($c->lost_rows($w), '<=', $o{may_lose} // 0, "$what: no acknowledged row is lost that need not be");
	my $now = $c->leader;
	is($now->{name}, $leader->{name}, "$what: no failover") if $o{stays};
	isnt($now->{name}, $leader->{name}, "$what: another member leads") if $o{moves};
	$leader->start unless $leader->{launcher_pid};
	ok($c->wait_healthy(40), "$what: one leader, all others streaming again");
	return ($leader, $r);
}

under_load('kill -9 of the postmaster', sub { $_[0]->kill_postmaster });
under_load('kill -9 of every postgres process', sub { $_[0]->kill_instance });
under_load('kill -9 of launcher and postgres', sub { $_[0]->kill_node }, moves => 1, may_lose => 5);

under_load('kill -9 of the worker', sub {
	my $pid = $_[0]->worker_pid;
	kill 'KILL', $pid if $pid;
	ok($pid, 'there is a worker to kill') }, stays => 1);
under_load('kill -9 of a backend', sub {
	my ($leader) = @_;
	my $pid = $leader->query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND query LIKE 'INSERT%' LIMIT 1");
	kill 'KILL', $pid }, stays => 1);

{
	my $leader = $c->leader;
	my $before = $leader->postmaster_pid;
	under_load('kill -9 of the launcher', sub { $_[0]->kill_launcher }, stays => 1);
	is($leader->postmaster_pid, $before, 'the instance went on without its launcher');
	wait_until('the new launcher to adopt', 10, sub { $leader->log_count('adopted the running instance') });
	pass('the new launcher adopted the running instance');
	wait_until('the worker to find the new launcher', 10, sub { $leader->status->{launcher} });
	my (undef, $r) = under_load('kill -9 of the postmaster after an adoption', sub { $_[0]->kill_postmaster });
}

my $exit;
my ($old) = under_load('SIGTERM of the leader\'s launcher', sub { $exit = $_[0]->stop }, moves => 1);
is($exit, 0, 'a stopped launcher exits 0');

# the events explain it, on every member
for my $m ($c->members)
{
	my $rows = $m->query("SELECT count(*) FROM pg_ha_events WHERE action = 'leader'");
	cmp_ok($rows, '>=', 2, "$m->{name} wrote down changes of leader");
}
my $leader = $c->leader;
like($leader->query("SELECT string_agg(DISTINCT action, ',') FROM pg_ha_events"), qr/takeover/,
	'the new leader wrote down its takeover');
is($leader->query("SELECT count(*) FROM pg_ha_events e WHERE rule <> 0 AND NOT EXISTS (SELECT FROM pg_ha_rules r WHERE r.id = e.rule)"),
	0, 'each event names a rule there is');
cmp_ok($leader->query('SELECT count(*) FROM pg_ha_history'), '>=', 2, 'the history has the forks');

# all of it again after the death of everything
$_->kill_node for $c->members;
$_->start for $c->members;
ok($c->wait_healthy(60), 'kill -9 of everything: the cluster comes back');
cmp_ok($_->query("SELECT count(*) FROM pg_ha_events WHERE action = 'leader'"), '>=', 2,
	"$_->{name} still shows the failovers") for $c->members;

done_testing;
