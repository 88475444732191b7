# All members stopped and started in each of the six orders: they serve within
# 15 s with every row.

use strict;
use warnings;
use PgHa::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $c = PgHa::Cluster->new(members => 3, ttl => 3);
$c->start;
$c->leader->query('CREATE TABLE kept(i int)');
my $rows = 0;
for my $order ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])
{
	my @m = ($c->members)[@$order];
	my $names = join ', ', map { $_->{name} } @m;
	$c->leader->query('INSERT INTO kept SELECT 1');
	$rows++;
	is($_->stop, 0, "$_->{name} stops cleanly") for @m;
	my $begun = time;
	$_->start for @m;
	my $leader = $c->leader(30);
	$c->wait_healthy(30);
	my $took = time - $begun;
	cmp_ok($took, '<', 15, sprintf('order %s: serves after %.1f s', $names, $took));
	is($c->leader->query('SELECT count(*) FROM kept'), $rows, "order $names: every row is there");
}
done_testing;
