# Every row of the table of faults, one after the other, on one cluster.
# ROWS="6 11" chooses.

use strict;
use warnings;
use Test::More;
use PgHa::FaultRun;

my $why_not = PgHa::FaultRun::skip_reason();
plan skip_all => $why_not if $why_not;

my %chosen = map { $_ => 1 } split /[\s,]+/, $ENV{ROWS} // '';
my $run = PgHa::FaultRun->new;
$run->run($_) for grep { !%chosen || $chosen{ $_->{row} } } PgHa::Faults::table();
$run->finish;
done_testing;
