# Consul lies still, and the members still see each other: the leader leads on by
# their word.  If one of them can't be asked, commits wait.

use strict;
use warnings;
use PgHa::Cluster qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep);

my $c = PgHa::Cluster->new(members => 3, ttl => 3, config => { failsafe_mode => JSON::PP::true });
$c->start;
my $leader = $c->leader;
my $postmaster = $leader->postmaster_pid;
my $term = $c->lease->{term};

wait_until('all to be in the electorate', 10, sub { @{ $c->lease->{electorate} // [] } == 3 });
is_deeply([ sort @{ $c->lease->{electorate} } ], [qw(n1 n2 n3)], 'the lease lists who may succeed the leader');
my $key = JSON::PP::decode_json(wait_until('the failsafe key', 10, sub { $c->kv('failsafe') }));
is_deeply([ sort keys %$key ], [qw(n1 n2 n3)], "Patroni's key lists them, too");
like($key->{n2}, qr{^http://127\.0\.0\.1:\d+/patroni$}, 'with their addresses');

sub same_leader
{
	my ($what) = @_;
	is($c->lease->{term}, $term, "$what: the same term");
	is($c->leader->{name}, $leader->{name}, "$what: the same leader");
	is($leader->postmaster_pid, $postmaster, "$what: nothing was restarted");
}

# frozen for 60 s under load
{
	my $w = $c->start_writer(100);
	$c->wait_writing($w, 30, 100);
	$c->consul_signal('STOP');
	sleep 20;
	my $status = $leader->status;
	ok($status->{failsafe_active}, 'pg_ha_status() says that the members\' word counts');
	is($status->{fence}{state}, 'open', 'the fence is open');
	my ($code) = $leader->rest('/primary');
	is($code, 200, 'REST calls it primary');
	like(($leader->rest('/patroni'))[1], qr/"failsafe_mode_is_active":\s*true/, "and says so in Patroni's words");
	sleep 40;
	$c->consul_signal('CONT');
	sleep 3;
	my $r = $c->stop_writer($w);
	note "acknowledged $r->{acknowledged}, failed $r->{failed}, longest wait $r->{gap_ms} ms";
	is($r->{failed}, 0, 'no write failed in 60 s without Consul');
	cmp_ok($r->{gap_ms}, '<', 2500, 'none had to wait for long');
	is($c->lost_rows($w), 0, 'none is lost');
	ok($c->wait_healthy(30), 'all is well when it is back');
	same_leader('Consul frozen for 60 s');
	ok(!$leader->status->{failsafe_active}, 'the lease is Consul\'s again');
}

# a standby dies while Consul is away: it can't be asked
my ($other, $dead) = $c->standbys;
{
	$c->consul_signal('STOP');
	wait_until('failsafe', 15, sub { $leader->status->{failsafe_active} });
	$dead->kill_node;
	wait_until('the fence to close', 15, sub { $leader->status->{fence}{state} eq 'closed' });
	pass('a member that does not answer may have taken over: commits wait');
	$c->consul_signal('CONT');
	wait_until('the fence to open', 20, sub { $leader->status->{fence}{state} eq 'open' });
	same_leader('a standby died without Consul');
}

# it stays dead, and is dropped when its member key has been gone for a while
{
	wait_until('it to be dropped', 60, sub { @{ $c->lease->{electorate} } == 2 }, 0.5);
	my $w = $c->start_writer(100);
	$c->wait_writing($w, 30, 100);
	$c->consul_signal('STOP');
	sleep 8;
	$c->consul_signal('CONT');
	sleep 2;
	my $r = $c->stop_writer($w);
	is($r->{failed}, 0, 'without it no write fails while Consul is away');
	same_leader('one standby dead, dropped before Consul went away');
}

# who is not listed any more takes over only after it is listed again
{
	$dead->start;
	wait_until('it to be listed again', 60, sub { @{ $c->lease->{electorate} } == 3 }, 0.5);
	ok($c->wait_healthy(60), 'it is back');
	$leader->kill_node;
	my $new = wait_until('another leader', 30, sub { my $l = $c->leader; $l && $l != $leader ? $l : 0 });
	ok($new, 'the leader dies with Consul there: another takes over');
	$leader->start;
	ok($c->wait_healthy(60), 'and all is well');
}

done_testing;
