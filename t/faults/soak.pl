# Rows of the table of faults at random, for MINUTES (2), by SEED (one is chosen
# and printed).  The same seed gives the same rows in the same order; what the
# machine makes of them is its own.

use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use PgHa::FaultRun;

plan skip_all => 'SOAK is not set: make soak' unless $ENV{MINUTES};
my $why_not = PgHa::FaultRun::skip_reason();
plan skip_all => $why_not if $why_not;

my $seed = $ENV{SEED} || int(rand(2**31));
diag("SEED=$seed");
srand($seed);
my @rows = PgHa::Faults::table();
my $run = PgHa::FaultRun->new(name => 'soak');
my $until = time + 60 * $ENV{MINUTES};
do
{
	$run->run($rows[ int(rand(@rows)) ]) or diag("SEED=$seed");
} while (time < $until);
$run->finish;
done_testing;
