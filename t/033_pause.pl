# Pause in `config`: the fence is open without end, nobody takes over, and its
# end leaves no commit that counts on it.

use strict;
use warnings;
use IPC::Run ();
use JSON::PP ();
use PgHa::Cluster qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep);

my $c = PgHa::Cluster->new(members => 2, ttl => 3);
$c->start;
my $leader = $c->leader;
my $term = $c->lease->{term};

sub pause
{
	my ($on) = @_;
	my $config = JSON::PP::decode_json($c->kv('config'));
	$config->{pause} = $on ? JSON::PP::true : JSON::PP::false;
	$c->kv_put('config', JSON::PP::encode_json($config));
}
sub fence { return $leader->status->{fence} }
sub open_without_end { wait_until('the fence to be open without end', 10, sub { fence->{open_without_end} }) }
sub leased { wait_until('the fence to go by the lease', 10, sub { !fence->{open_without_end} && !$c->lease->{paused} && fence->{state} eq 'open' }) }

# Consul away for longer than the lease
{
	pause(1);
	open_without_end();
	ok($c->lease->{paused}, 'the lease says paused');
	$c->consul_signal('STOP');
	sleep 8;
	$leader->query('CREATE TABLE t (i int)');
	pass('commits go on without Consul for as long as it takes');
	$c->consul_signal('CONT');
	sleep 2;
	is($c->lease->{term}, $term, 'nobody has taken over');
	pause(0);
	leased();
	pass('the pause ends');
}

# the worker is terminated in the pause, which is over when the next one begins
{
	pause(1);
	open_without_end();
	my $worker = $leader->worker_pid;
	kill 'STOP', $leader->{launcher_pid};
	is($leader->query("SELECT pg_terminate_backend($worker)"), 't', 'the worker is terminated');
	pause(0);
	wait_until('another worker', 20, sub { my $pid = $leader->worker_pid; $pid && $pid != $worker });
	kill 'CONT', $leader->{launcher_pid};
	leased();
	pass('its next life ends the pause that the one before began');
	kill 'STOP', $leader->{launcher_pid}, $leader->worker_pid;
	sleep 4;
	is(fence->{state}, 'closed', 'without heartbeats the fence closes');
	kill 'CONT', $leader->{launcher_pid}, $leader->worker_pid;
	wait_until('a leader', 30, sub { $leader = $c->leader });
	$c->wait_healthy(40);
	$leader = $c->leader;
}

# a client that does not read holds up an acknowledgement
{
	pause(1);
	open_without_end();
	$term = $c->lease->{term};
	my $out = '';
	my $client = IPC::Run::start([ $leader->psql_cmd, '-c',
			"BEGIN; INSERT INTO t VALUES (1); COMMIT; SELECT pg_sleep(1); SELECT repeat('x', 1000) FROM generate_series(1, 100000)" ],
		'<', \undef, '>', \$out, '2>&1');
	wait_until('its sleep', 10, sub { $leader->query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") });
	$client->signal('STOP');
	wait_until('its send', 10, sub { $leader->query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'") });
	pause(0);
	wait_until('the fence to go by the lease', 10, sub { !fence->{open_without_end} });
	$leader->query('INSERT INTO t VALUES (2)');
	pass('new commits go by the lease at once');
	leased();
	is($leader->query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'"), 0, 'a session that holds its acknowledgement up is ended');
	is($c->lease->{term}, $term, 'the same leader');
	ok(scalar(grep { ($_->{rule} // 0) == 117 } $leader->events), 'an event says so');
	$client->signal('CONT');
	$client->finish;
}

done_testing;
