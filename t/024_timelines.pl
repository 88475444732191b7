# Numbers of timelines: none is given to two leaderships, and WAL under a number
# that means another timeline here is never streamed on.

use strict;
use warnings;
use JSON::PP ();
use PgHa::Cluster qw(wait_until);
use Test::More;

my $c = PgHa::Cluster->new(members => 3, ttl => 3);
$c->start;

sub timeline { my ($m) = @_; return $m->query('SELECT timeline_id FROM pg_control_checkpoint()') }
sub switch_wal { $c->leader->query("CHECKPOINT") }
my $events = sub { my ($m, $action) = @_; scalar grep { $_->{action} eq $action } $m->events };

# a leadership that claimed timeline 5 is gone before anybody heard of it
{
	my $leader = $c->leader;
	$leader->query('CREATE TABLE t (i int)');
	my $status = JSON::PP::decode_json($c->kv('status'));
	is($status->{lease}{claimed_timeline}, 1, 'nobody has claimed a second timeline yet');
	wait_until('the claim to be kept', 10, sub {
		my $now = JSON::PP::decode_json($c->kv('status'));
		return 1 if $now->{lease}{claimed_timeline} == 5 && $now->{lease}{seq} > $status->{lease}{seq} + 1;
		$now->{lease}{claimed_timeline} = 5;
		$c->kv_put('status', JSON::PP::encode_json($now));
		return 0;
	}, 0.5);
	$leader->stop;
	my $new = wait_until('another leader', 30, sub { my $l = $c->leader; $l && $l != $leader ? $l : 0 });
	$new->query('INSERT INTO t VALUES (1)');
	switch_wal();
	is(timeline($new), 6, 'the next leadership takes the number after that');
	$leader->start;
	ok($c->wait_healthy(60), 'all stream from it');
	switch_wal();
	is($leader->query('SELECT count(*) FROM t'), 1, 'the old leader, too');
	is($events->($leader, 'rewound'), 0, 'without a rewind');
	$new->stop;
	my $third = wait_until('a third leader', 30, sub { my $l = $c->leader; $l && $l != $new ? $l : 0 });
	switch_wal();
	is(timeline($third), 7, 'the one after takes the next');
	$new->start;
	ok($c->wait_healthy(60), 'all stream from it');
}

# a standby is promoted by hand, behind the cluster's back
{
	my $leader = $c->leader;
	my ($other, $stray) = $c->standbys;
	$stray->stop;
	my @ctl = ("$ENV{PGHA_BINDIR}/pg_ctl", '-D', $stray->{data}, '-w', '-t', '30', '-l', "$stray->{dir}/byhand.log",
		'-o', "-p $stray->{port} -k $stray->{run} -c hba_file=$stray->{state}/pg_hba.conf");
	my ($rc) = PgHa::Cluster::run_ok(@ctl, 'start');
	is($rc, 0, 'it is started by hand') or diag PgHa::Cluster::slurp("$stray->{dir}/byhand.log");
	is((PgHa::Cluster::run_ok(@ctl, 'promote'))[0], 0, 'and promoted');
	$stray->query('CHECKPOINT');
	is(timeline($stray), 8, 'to timeline 8');
	is((PgHa::Cluster::run_ok(@ctl, '-m', 'fast', 'stop'))[0], 0, 'and stopped');

	$leader->query('INSERT INTO t SELECT generate_series(1, 100)');
	my $rows = $leader->query('SELECT count(*) FROM t');
	wait_until('the other to have them', 10, sub { $other->query('SELECT count(*) FROM t') == $rows });
	$leader->stop;
	my $new = wait_until('another leader', 30, sub { my $l = $c->leader; $l && $l != $leader ? $l : 0 });
	switch_wal();
	is(timeline($new), 8, 'the cluster has a timeline 8 of its own');
	my $clones = $events->($stray, 'cloned');
	$leader->start;
	$stray->start;
	ok($c->wait_healthy(90), 'all stream from the new leader');
	is($events->($stray, 'cloned'), $clones + 1, 'the one on a timeline 8 of its own was cloned');
	is($stray->query('SELECT count(*) FROM t'), $rows, 'and has every row');
}

# numbers that were skipped can be asked for, whatever became of who skipped them
{
	my $leader = $c->leader;
	my ($behind, $next) = $c->standbys;
	$behind->stop;
	my $tli = timeline($leader);
	my $claimed = $tli + 3;
	wait_until('the claim to be kept', 10, sub {
		my $now = JSON::PP::decode_json($c->kv('status'));
		return 1 if $now->{lease}{claimed_timeline} >= $claimed;
		$now->{lease}{claimed_timeline} = $claimed;
		$c->kv_put('status', JSON::PP::encode_json($now));
		return 0;
	}, 0.5);
	$leader->stop;
	wait_until('the last one to lead', 30, sub { my $l = $c->leader; $l && $l == $next });
	wait_until('it to serve', 30, sub { eval { $next->query('INSERT INTO t VALUES (0)'); 1 } });
	$next->stop;
	$next->start;
	wait_until('it to lead again', 30, sub { my $l = $c->leader; $l && $l == $next });
	wait_until('it to serve again', 30, sub { eval { $next->query('INSERT INTO t VALUES (0)'); 1 } });
	switch_wal();
	ok(timeline($next) > $claimed, 'it skipped the numbers that were claimed');
	$behind->start;
	$leader->start;
	ok($c->wait_healthy(60), 'who comes from before that streams from it');
}

done_testing;
