# Nothing is acknowledged by a primary that was frozen, once another has
# acknowledged: RUNS (20) times, with clients pinned to each member, and others
# that keep 16 commits under way.  Every third time worker and launcher sleep
# for 60 s, else all of the node's processes until another member leads.

use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep time);
use PgHa::Cluster qw(wait_until);
use PgHa::FaultRun;

plan skip_all => 'make check-frozen' unless $ENV{RUNS};
my $why_not = PgHa::FaultRun::skip_reason();
plan skip_all => $why_not if $why_not;

sub worker_and_launcher
{
	my ($net, $leader) = @_;
	my @pids = ($leader->worker_pid, $leader->{launcher_pid});
	kill 'STOP', @pids;
	sleep 60;
	kill 'CONT', @pids;
	sleep 1;
}

sub everything
{
	my ($net, $leader) = @_;
	my @pids = grep { $_ != $net->consul_of($leader->{name})->{pid} } PgHa::Net::pids_of($leader->{name});
	kill 'STOP', @pids;
	PgHa::Faults::other_leader($net, $leader);
	$net->wait_writing($net->{oracle}{all}, 20);
	kill 'CONT', @pids;
	sleep 2;
}

my $run = PgHa::FaultRun->new(name => 'frozen');
for my $n (1 .. $ENV{RUNS})
{
	my $sleepers = $n % 3 == 0;
	$run->run({ row => 4, what => ($sleepers ? 'worker and launcher for 60 s' : 'everything until another leads') . ", run $n",
		why => 'no acknowledgement by the old primary after the first by the new', leader => 'other', may_lose => 1, pipelines => 1,
		run => $sleepers ? \&worker_and_launcher : \&everything });
}
$run->finish;
done_testing;
