# What must not join or write: a second member of the same name, a directory of
# another cluster, a primary started by hand, a standby too far behind.

use strict;
use warnings;
use PgHa::Cluster qw(wait_until spit);
use JSON::PP;
use Test::More;

my $c = PgHa::Cluster->new(members => 3, ttl => 3, config => { maximum_lag_on_failover => 1000000 });
$c->start;

{
	my $twin = $c->add_member('twin');
	$twin->{name} = 'n2';
	$twin->start;
	wait_until('a refusal', 15, sub { $twin->log_count('alive elsewhere') });
	pass('a second member of the same name is refused with a clear message');
	ok(!-e "$twin->{data}/PG_VERSION", 'and makes nothing');
	$twin->stop;
	pop @{ $c->{members} };
	$c->wait_healthy(30);
}

{
	my $foreign = $c->add_member('foreign');
	PgHa::Cluster::run_ok("$ENV{PGHA_BINDIR}/initdb", '-D', $foreign->{data}, '-U', 'postgres', '-A', 'trust', '-N');
	$foreign->start;
	wait_until('a refusal', 15, sub { $foreign->log_count('belongs to another cluster') });
	pass('a data directory of another cluster is refused with a clear message');
	ok(!$foreign->postmaster_pid, 'and not started');
	$foreign->stop;
	pop @{ $c->{members} };
	$c->kv_delete('members/foreign');
}

# the lag limit, to the byte: optime is what the lease's holder said last
{
	my $leader = $c->leader;
	my ($near, $far) = $c->standbys;
	$far->stop;
	my $limit = 1000000;
	my $lsn_of = sub { decode_json($c->kv("members/$near->{name}"))->{xlog_location} };
	$leader->kill_node;
	# put optime beyond the limit by one byte, as a leader would have
	my $status = decode_json($c->kv('status'));
	my $lsn = wait_until('its position', 10, $lsn_of);
	$status->{optime} = $lsn + $limit + 1;
	$c->kv_put('status', encode_json($status));
	wait_until('the lease to be free', 20, sub { $near->query("SELECT pg_ha_status()->>'rule'") == 304 });
	sleep 2;
	is($near->query('SELECT pg_is_in_recovery()'), 't', 'one byte beyond the limit it does not take over');
	$status->{optime} = $lsn_of->() + $limit;
	$c->kv_put('status', encode_json($status));
	wait_until('a takeover', 30, sub { ($near->try_query('SELECT pg_is_in_recovery()') // '') eq 'f' });
	pass('at the limit it does');
	$leader->start;
	$far->start;
	$c->wait_healthy(60);
}

# by hand, with plain pg_ctl, after everything was killed
{
	my $leader = $c->leader;
	$leader->query('CREATE TABLE byhand(i int)');
	$_->kill_node for $c->members;
	unlink "$leader->{data}/standby.signal";
	my ($rc, $out, $err) = PgHa::Cluster::run_ok("$ENV{PGHA_BINDIR}/pg_ctl", '-D', $leader->{data}, '-w', '-t', '30',
		'-l', "$leader->{dir}/byhand.log", '-o', "-p $leader->{port} -k $leader->{run}", 'start');
	is($rc, 0, 'plain pg_ctl starts it') or diag PgHa::Cluster::slurp("$leader->{dir}/byhand.log");
	($rc, $out, $err) = PgHa::Cluster::run_ok("$ENV{PGHA_BINDIR}/psql", '-XAtq', '-h', $leader->{run}, '-p', $leader->{port},
		'-U', 'postgres', '-c', 'INSERT INTO byhand VALUES (1)', 'postgres');
	isnt($rc, 0, 'but no commit is acknowledged');
	like($err, qr/does not hold the leader lease.*--detach/s, 'with a hint');
	PgHa::Cluster::run_ok("$ENV{PGHA_BINDIR}/pg_ctl", '-D', $leader->{data}, '-w', '-m', 'fast', 'stop');
	$_->start for $c->members;
	ok($c->wait_healthy(60), 'under the launcher it comes back');
	is($c->leader->query('SELECT count(*) FROM byhand'), 0, 'without the row');
}

done_testing;
