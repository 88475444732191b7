# Consul in trouble: commits wait or fail clearly, nothing restarts, nobody
# takes over.

use strict;
use warnings;
use PgHa::Cluster qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep);

my $c = PgHa::Cluster->new(members => 3, ttl => 3, config => { failsafe_mode => JSON::PP::false });
$c->start;
my $leader = $c->leader;
my $postmaster = $leader->postmaster_pid;
my $term = $c->lease->{term};

sub same_leader
{
	my ($what) = @_;
	$c->wait_healthy(40);
	is($c->leader->{name}, $leader->{name}, "$what: the same leader");
	is($c->lease->{term}, $term, "$what: the same term");
	is($leader->postmaster_pid, $postmaster, "$what: nothing was restarted");
}

# Consul frozen ten times, for longer than the lease
my $w = $c->start_writer(100);
for my $seconds (5, 5, 6, 6, 7, 8, 10, 12, 15, 30)
{
	$c->consul_signal('STOP');
	sleep $seconds;
	$c->consul_signal('CONT');
	$c->wait_writing($w, 30);
}
my $r = $c->stop_writer($w);
note "acknowledged $r->{acknowledged}, failed $r->{failed}, longest wait $r->{gap_ms} ms";
is($c->lost_rows($w), 0, 'no acknowledged row is lost');
same_leader('Consul frozen ten times');

# while it is away, commits wait, then fail clearly; reads go on
{
	$c->consul_signal('STOP');
	wait_until('the fence to close', 10, sub { $leader->status->{fence}{state} eq 'closed' });
	my ($rc, undef, $err) = do {
		local $ENV{PGOPTIONS} = '-c statement_timeout=1s';
		$leader->psql('CREATE TABLE nothing()');
	};
	isnt($rc, 0, 'a commit does not pass a closed fence');
	like($err, qr/statement timeout/, 'statement_timeout ends its wait');
	is($leader->query('SELECT 1'), 1, 'reads go on');
	my ($code) = $leader->rest('/primary');
	is($code, 503, 'REST does not call it primary');
	$c->consul_signal('CONT');
	same_leader('commits refused');
	($code) = $leader->rest('/primary');
	is($code, 200, 'REST calls it primary again');
}

# Consul restarted (its data kept)
for my $time (1 .. 3)
{
	$c->consul_signal('KILL');
	$c->reap($_->{pid}) for @{ $c->{consul} };
	sleep 4;
	$c->start_consul;
	same_leader("Consul killed and restarted, $time");
}

# an operator destroys the session, deletes the leader key, overwrites it
{
	my $session = $c->lease->{session};
	PgHa::Cluster::http('PUT', $c->consul_url . "/v1/session/destroy/$session");
	wait_until('the key to be taken again', 15, sub { ($c->kv('leader') // '') eq $leader->{name} });
	same_leader('session destroyed');
	$c->kv_delete('leader');
	wait_until('the key to be taken again', 15, sub { ($c->kv('leader') // '') eq $leader->{name} });
	same_leader('leader key deleted');
	$c->kv_put('leader', 'somebody');
	wait_until('the key to be taken again', 15, sub { ($c->kv('leader') // '') eq $leader->{name} });
	same_leader('leader key overwritten');
}

# keys that are not what they should be
{
	$c->kv_put('config', '{"ttl": 3, "postgresql": {');
	sleep 1;
	same_leader('config is not JSON');
	my $hba = '"pg_hba": ["local all all trust", "host all all 127.0.0.1/32 trust"]';
	$c->kv_put('config', qq({"ttl": "soon", "loop_wait": -1, "postgresql": {$hba}}));
	sleep 1;
	same_leader('config holds bad values');
	$c->kv_put('config', qq({"ttl": 3, "postgresql": {$hba, "parameters": {"work_mem": "5MB", "no_such_thing": 1, "shared_buffers": "lots"}}}));
	wait_until('the good value to arrive', 10, sub { $leader->query('SHOW work_mem') eq '5MB' });
	pass('the good value is applied, unknown and bad ones are left out');
	same_leader('config holds an unknown parameter');
	$c->kv_delete('members/n2');
	wait_until('the member key to come back', 10, sub { $c->kv('members/n2') });
	same_leader('a member key deleted');
	$c->kv_put('history', 'garbage');
	sleep 1;
	same_leader('history is garbage');
}

done_testing;
