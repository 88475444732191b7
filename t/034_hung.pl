# Instances that hang: a stopped postmaster or worker, a WAL disk that hangs or
# is full.  The leader makes room for another, and every member heals.

use strict;
use warnings;
use PgHa::Cluster qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $c = PgHa::Cluster->new(members => 3, ttl => 3, config => { health_timeout => 3 });
my $shim = "$c->{dir}/disk_fault.so";
system(($ENV{CC} // 'cc'), '-shared', '-fPIC', '-O1', '-o', $shim, 't/tools/disk_fault.c') == 0
	or BAIL_OUT('t/tools/disk_fault.c does not compile');
for my $m ($c->members) { $m->{env} = { LD_PRELOAD => $shim, DISK_FAULT => "$m->{dir}/fault" } }
$c->start;
my $events = sub { my ($m, $rule) = @_; scalar grep { ($_->{rule} // 0) == $rule } $m->events };

# Nothing of this happens to a healthy cluster that is busy.
{
	my $leader = $c->leader;
	my $term = $c->lease->{term};
	my @pgbench = ("$ENV{PGHA_BINDIR}/pgbench", '-h', '127.0.0.1', '-p', $leader->{port}, '-U', 'postgres');
	is((PgHa::Cluster::run_ok(@pgbench, '-i', '-s', 5, 'postgres'))[0], 0, 'pgbench is initialized');
	is((PgHa::Cluster::run_ok(@pgbench, '-c', 8, '-j', 2, '-T', 15, 'postgres'))[0], 0, 'pgbench at saturation');
	is($c->lease->{term}, $term, 'costs no leadership');
	$c->wait_healthy(30);
}

# How long until another member leads; the rows that were acknowledged are there.
sub handed_over
{
	my ($what, $within, $fault, $heal) = @_;
	my $old = $c->leader;
	$old->query('CHECKPOINT');
	my $w = $c->start_writer(100);
	$c->wait_writing($w, 30, 100);
	my $at = time;
	$fault->($old);
	my $new = wait_until("another leader ($what)", 40, sub { my $l = $c->lease; $l && !$l->{released} && $l->{holder} ne $old->{name} && $c->member($l->{holder}) });
	my $took = time - $at;
	cmp_ok($took, '<', $within, sprintf('%s: another member leads after %.1f s', $what, $took));
	$c->wait_writing($w, 30);
	$heal->($old);
	$c->stop_writer($w);
	ok($c->wait_healthy(90), "$what: every member is whole again");
	is($c->lost_rows($w), 0, "$what: no acknowledged row is lost");
	return $old;
}

# a stopped postmaster is killed: it starts again in place, or another leads
{
	my $leader = $c->leader;
	my $w = $c->start_writer(100);
	$c->wait_writing($w, 30, 100);
	my $pid = $leader->kill_postmaster('STOP');
	wait_until('the postmaster to be killed', 10, sub { !kill 0, $pid });
	$c->wait_writing($w, 15);
	pass('the postmaster is stopped: it is killed, and writes go on');
	$c->stop_writer($w);
	ok($c->wait_healthy(60), 'every member is whole again');
	is($c->lost_rows($w), 0, 'no acknowledged row is lost');
	cmp_ok($events->($leader, 100), '>', 0, 'an event says that it showed no life');
}

handed_over('the worker is stopped', 10, sub { kill 'STOP', $_[0]->worker_pid }, sub { });
handed_over('the WAL disk hangs', 15,
	sub { PgHa::Cluster::spit("$_[0]{dir}/fault", 'h') }, sub { unlink "$_[0]{dir}/fault" });
handed_over('the WAL disk is full', 8,
	sub { PgHa::Cluster::spit("$_[0]{dir}/fault", 'f') }, sub { unlink "$_[0]{dir}/fault" });

# a launcher that is stopped promotes nobody
{
	my $leader = $c->leader;
	my ($first, $second) = $c->standbys;
	$first->launcher_signal('STOP');
	sleep 4;
	$leader->kill_node;
	my $new = $c->leader(40);
	is($new->{name}, $second->{name}, 'a member whose launcher is stopped does not lead');
	$first->launcher_signal('CONT');
	$leader->start;
	ok($c->wait_healthy(60), 'every member is whole again');
}

done_testing;
