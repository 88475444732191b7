# kill -9 of the postmaster under 1,000 inserts a second, ten times,
# asynchronous replication: nothing acknowledged is lost.

use strict;
use warnings;
use PgHa::Cluster;
use Test::More;

my $c = PgHa::Cluster->new(members => 3, ttl => 5);
$c->start;
my $lost = 0;
my $acknowledged = 0;
for my $round (1 .. 10)
{
	my $leader = $c->leader;
	my $w = $c->start_writer(1000);
	$c->wait_writing($w, 20, 300 + 37 * $round);
	$leader->kill_postmaster;
	$c->wait_writing($w, 30, 200);
	my $r = $c->stop_writer($w);
	note "round $round: gap $r->{gap_ms} ms";
	$acknowledged += $r->{acknowledged};
	$lost += $c->lost_rows($w);
	$c->wait_healthy(60);
}
cmp_ok($acknowledged, '>', 3000, 'rows were acknowledged');
is($lost, 0, 'none of them was lost');
done_testing;
