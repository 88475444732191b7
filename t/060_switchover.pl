# Switchover and failover by hand, from SQL: what is refused and why, what
# clients see of one, what is scheduled, cancelled or missed, and what happens
# when the candidate dies on the way.

use strict;
use warnings;
use JSON::PP ();
use PgHa::Cluster qw(wait_until);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

my $c = PgHa::Cluster->new(members => 3, ttl => 3);
$c->start;

sub others { my ($m) = @_; return grep { $_ != $m } $c->members }
sub error { my ($m, $sql) = @_; my ($rc, undef, $err) = $m->psql($sql); return $rc ? $err : 'no error' }
sub job { my ($m, $what, $where) = @_; return $m->query("SELECT $what FROM pg_ha_jobs WHERE $where ORDER BY id DESC LIMIT 1") }
sub timeline { return $_[0]->query('SELECT timeline_id FROM pg_control_checkpoint()') }
sub iso { return POSIX::strftime('%Y-%m-%dT%H:%M:%S+00:00', gmtime($_[0])) }

# what can't be done is refused before anything is changed
{
	my $leader = $c->leader;
	my ($one, $two) = others($leader);
	my $before = $c->lease->{term};
	like(error($one, "SELECT pg_ha_switchover('nobody')"),
		qr/member "nobody" can't be made the leader: there is no such member.*Possible candidates: n\d, n\d\.  Nothing was changed/s, 'an unknown candidate');
	like(error($one, "SELECT pg_ha_switchover('$leader->{name}')"), qr/it leads already/, 'the leader itself');
	like(error($one, "SELECT pg_ha_switchover(scheduled_at => now() - interval '1 s')"), qr/must be in the future/, 'a time that has passed');
	like(error($one, "SELECT pg_ha_switchover(scheduled_at => 'infinity')"), qr/must be a finite time/, 'a time that never comes');
	like(error($one, "SELECT pg_ha_switchover(timeout => '-1 s')"), qr/a timeout can't be negative/, 'a negative timeout');
	like(error($one, 'SELECT pg_ha_failover(NULL)'), qr/needs a candidate/, 'a failover to nobody');
	$leader->query('CREATE ROLE clerk LOGIN');
	wait_until('the role', 5, sub { $one->try_query("SELECT 1 FROM pg_roles WHERE rolname = 'clerk'") });
	like(error($one, 'SET ROLE clerk; SELECT pg_ha_switchover()'), qr/permission denied for function pg_ha_switchover/, 'somebody who may not');
	$two->kill_launcher;
	wait_until('its launcher to be missed', 15, sub { error($one, "SELECT pg_ha_switchover('$two->{name}')") =~ /its launcher is not running/ });
	pass('a candidate without a launcher');
	$two->start(keep_files => 1);
	wait_until('its launcher', 15, sub { error($leader, "SELECT pg_ha_switchover('$two->{name}', now() - interval '1 s')") =~ /future/ });
	is($c->lease->{term}, $before, 'nobody else leads');
	is($one->query("SELECT count(*) FROM pg_ha_jobs"), '0', 'and no job was begun');
}

# called on a standby: waits, and says what happened; no acknowledged row is lost
{
	my $leader = $c->leader;
	my ($one, $two) = others($leader);
	my $w = $c->start_writer(100);
	sleep 1;
	my ($state, $old, $new, $tli, $lsn, $ms) =
		split /\|/, $two->query("SELECT state, old_leader, new_leader, timeline, lsn, ms_without_writes FROM pg_ha_switchover('$one->{name}')");
	is("$state $old $new", "done $leader->{name} $one->{name}", 'done, from and to whom');
	is($tli, 2, 'on the next timeline');
	like($lsn, qr{^0/[0-9A-F]+$}, 'from a position');
	cmp_ok($ms, '<', 5000, "with $ms ms without writes");
	is($c->leader->{name}, $one->{name}, 'the candidate leads');
	$c->wait_healthy;
	$c->wait_writing($w);
	my $seen = $c->stop_writer($w);
	is($c->lost_rows($w), 0, "no row of $seen->{acknowledged} was lost (gap $seen->{gap_ms} ms)");
	ok(!grep({ $_->{action} =~ /rewind|clone/ && $_->{time} gt iso(time - 30) && $_->{action} ne 'cloned' } $leader->events),
		'the old leader came back without a rewind');
	is($c->kv('failover'), '{}', 'the order is cleared');
	is(job($leader, 'kind, state, message', 'true'), "switchover|done|$one->{name} leads", 'its job is known to all');
	my @rules = map { "$_->{rule} $_->{action}" } grep { $_->{rule} >= 500 && $_->{rule} < 600 || $_->{rule} == 205 } $leader->events;
	is(join(', ', @rules), '504 checkpoint, 504 checkpoint, 508 hand over, 205 release', 'the events of the old leader explain it');
}

# called on the leader: the job first, then the session is cut
{
	my $leader = $c->leader;
	my ($rc, $out, $err) = $leader->psql('SELECT job, state FROM pg_ha_switchover()');
	is($rc, 0, 'the session has its answer');
	my ($id) = $out =~ /^(\S+)\|running$/;
	like($err, qr/this session is about to be cut: job "\Q$id\E" goes on without it/, 'and a notice');
	my ($other) = others($leader);
	like($other->query("SELECT state, message FROM pg_ha_wait_for_job('$id', '30 s')"), qr/^done\|n\d leads$/, 'waited for on another member');
	isnt($c->leader->{name}, $leader->{name}, 'somebody else leads');
	$c->wait_healthy;
}

# scheduled: shown, one at a time, cancelled; and carried out when its time comes,
# whoever it was asked of
{
	my $leader = $c->leader;
	my ($one, $two) = others($leader);
	my $id = $one->query("SELECT job FROM pg_ha_switchover('$two->{name}', now() + interval '1 h')");
	is(job($two, 'state, asked_by', "id = '$id'"), "scheduled|$one->{name}", 'shown everywhere');
	my $key = JSON::PP::decode_json($c->kv('failover'));
	is("$key->{leader} $key->{member}", "$leader->{name} $two->{name}", "in Patroni's key");
	like($key->{scheduled_at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/, 'with its time');
	like(error($two, 'SELECT pg_ha_switchover()'), qr/being changed already, or will be.*pg_ha_cancel/s, 'one at a time');
	is($two->query("SELECT pg_ha_cancel('$id')"), 't', 'cancelled on another member');
	is($c->kv('failover'), '{}', 'the key is cleared');
	like(error($two, "SELECT pg_ha_cancel('$id')"), qr/has ended already/, 'once');
	like(error($two, "SELECT pg_ha_cancel('x')"), qr/there is no job "x"/, 'what there is');

	$id = $one->query("SELECT job FROM pg_ha_switchover('$two->{name}', now() + interval '3 s')");
	$one->kill_node;
	like($two->query("SELECT state, message FROM pg_ha_wait_for_job('$id', '30 s')"), qr/^done\|$two->{name} leads$/,
		'at its time, though the member asked is dead');
	$one->start;
	$c->wait_healthy(60);
}

# an order of another tool, and one that can't be understood
{
	my $leader = $c->leader;
	my ($one, $two) = others($leader);
	my $terms = $c->lease->{term};
	$c->kv_put('failover', '{"leader": 5}');
	sleep 1.5;
	is($c->lease->{term}, $terms, 'what makes no sense is left alone');
	$c->kv_put('failover', encode({ leader => $leader->{name}, member => 'nobody' }));
	wait_until('the order to be dropped', 10, sub { ($c->kv('failover') // '') eq '{}' });
	ok(scalar(grep { $_->{action} eq 'end order' && $_->{what} =~ /nobody: there is no such member/ } $leader->events), 'what can\'t be done is dropped, with an event');
	$c->kv_put('failover', encode({ leader => $leader->{name}, member => $one->{name}, scheduled_at => iso(time - 3600) }));
	wait_until('the order to be dropped', 10, sub { ($c->kv('failover') // '') eq '{}' });
	ok(scalar(grep { $_->{action} eq 'end order' && $_->{what} =~ /its time has passed unmet/ } $leader->events), 'what is late is dropped, with an event');
	is($c->lease->{term}, $terms, 'the leader is the same');
	$c->kv_put('failover', encode({ leader => $leader->{name}, member => $one->{name} }));
	wait_until('the new leader', 20, sub { ($c->lease->{holder} // '') eq $one->{name} });
	is($c->leader->{name}, $one->{name}, "Patroni's order is carried out");
	$c->wait_healthy;
}

sub encode { return JSON::PP::encode_json($_[0]) }

# the candidate takes no more WAL: the old leader leads again, and says so
{
	my $leader = $c->leader;
	my ($one, $two) = others($leader);
	my $w = $c->start_writer(50);
	my $tli = timeline($leader);
	my $receiver = $one->query('SELECT pid FROM pg_stat_wal_receiver');
	kill 'STOP', $receiver;
	my $begun = time;
	like(error($two, "SELECT pg_ha_switchover('$one->{name}')"), qr/switchover failed: nobody took over in time, and the old leader leads again/, 'it says so');
	is($c->leader->{name}, $leader->{name}, 'the old leader leads');
	$c->wait_writing($w);
	cmp_ok(time - $begun, '<', 15, 'and is written to');
	is(timeline($leader), $tli, 'on its timeline');
	kill 'CONT', $receiver;
	$c->wait_healthy(60);
	$c->stop_writer($w);
	is($c->lost_rows($w), 0, 'no acknowledged row was lost');
}

# a failover by hand, with a leader and without
{
	my $leader = $c->leader;
	my ($one, $two) = others($leader);
	is($two->query("SELECT state, old_leader, new_leader FROM pg_ha_failover('$one->{name}')"), "done|$leader->{name}|$one->{name}", 'a leader that is there hands over');
	$c->wait_healthy;

	# paused, the leader dies: nobody takes over until somebody is named
	$leader = $c->leader;
	($one, $two) = others($leader);
	is($one->query('SELECT pg_ha_pause()'), 't', 'paused');
	like(error($one, 'SELECT pg_ha_switchover()'), qr/in a pause the member to lead must be named/, 'who is to lead must be named then');
	$leader->kill_node;
	sleep 6;
	like(error($one, "SELECT pg_ha_failover('$two->{name}')"), qr/member "$two->{name}" can't be made the leader: it does not stream|lacks up to/, 'what may be lost must be accepted');
	my $result = $one->query("SELECT state, new_leader FROM pg_ha_failover('$two->{name}', force => true)");
	is($result, "done|$two->{name}", 'the one named leads');
	is($two->query('SELECT pg_ha_resume()'), 't', 'resumed');
	$leader->start;
	$c->wait_healthy(60);
}

# what the cluster can lose, and the numbers for monitoring
{
	my $leader = $c->leader;
	my ($one, $two) = others($leader);
	wait_until('Consul to say how many servers it has', 30, sub { ($one->query("SELECT pg_ha_status()->'can_lose'->>'consul_servers'") // '') eq '0' });
	# what one member knows of another is up to a heartbeat old
	wait_until('two members to be counted', 20, sub { ($one->query("SELECT pg_ha_status()->'can_lose'->>'members'") // '') eq '2' });
	pass('two further members can be lost');
	is($one->query("SELECT pg_ha_status()->'can_lose'->'why'->>-1"), '1 of 1 Consul servers are well, 1 are needed', 'and no Consul server, because there is one');
	$two->kill_node;
	wait_until('its loss to be seen', 40, sub { ($one->query("SELECT value FROM pg_ha_metrics WHERE name = 'can_lose_members'") // '') eq '1' });
	pass('one of them is lost: one can be');
	my %metric = map { split /\|/ } split /\n/, $leader->query('SELECT name, value FROM pg_ha_metrics');
	is("$metric{leader} $metric{primary} $metric{fence_open} $metric{launcher} $metric{paused}", '1 1 1 1 0', 'metrics of the leader');
	cmp_ok($metric{lease_remaining_ms}, '>', 0, 'its lease');
	$two->start;
	$c->wait_healthy(60);
}

# everything is killed at once: every member still shows who led, and why
{
	my $id = $c->leader->query('SELECT job FROM pg_ha_switchover()');
	wait_until('the switchover', 30, sub { ($c->kv("pg_ha/jobs/$id") // '') =~ /"done"/ });
	$c->wait_healthy;
	my $new = $c->leader->{name};
	my $term = $c->lease->{term};
	$_->kill_node for $c->members;
	$_->start for $c->members;
	$c->wait_healthy(90);
	for my $m ($c->members)
	{
		is($m->query("SELECT count(*) > 0 FROM pg_ha_events WHERE action = 'leader' AND what LIKE '$new leads%' AND (facts->>'term')::int = $term"), 't',
			"$m->{name} still shows that $new took over");
		is($m->query("SELECT state FROM pg_ha_jobs WHERE id = '$id'"), 'done', 'and the job');
	}
}

done_testing;
