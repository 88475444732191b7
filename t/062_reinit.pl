# A member copied anew at an operator's wish: refused on the leader, shown while
# it lasts, the old copy kept until the new one streams, and put back when the
# source goes away half-way.

use strict;
use warnings;
use PgHa::Cluster qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $c = PgHa::Cluster->new(members => 3, ttl => 3);
$c->start;
my $leader = $c->leader;
my ($one, $two) = $c->standbys;

sub error { my ($m, $sql) = @_; my ($rc, undef, $err) = $m->psql($sql); return $rc ? $err : 'no error' }
sub inode { return (stat "$_[0]{data}/PG_VERSION")[1] }
sub count { my ($m, $action) = @_; return scalar grep { $_->{action} eq $action } $m->events }

$leader->query("CREATE TABLE ballast AS SELECT g AS id, repeat('x', 900) AS t FROM generate_series(1, 150000) g");
wait_until('the ballast', 30, sub { ($one->try_query('SELECT count(*) FROM ballast') // 0) == 150000 });

# refused
{
	like(error($one, "SELECT pg_ha_reinit('$leader->{name}')"), qr/member "$leader->{name}" says: I am the leader, can not reinitialize/, 'on the leader');
	like(error($one, "SELECT pg_ha_reinit('nobody')"), qr/there is no member "nobody"/, 'an unknown member');
	$two->kill_launcher;
	like(error($one, "SELECT pg_ha_reinit('$two->{name}')"), qr/member "$two->{name}" does not answer: .*HINT:  Is its launcher running/s, 'one that does not answer');
	$two->start(keep_files => 1);
	$c->wait_healthy;
}

# done: shown while it lasts, once at a time, the old copy gone at the end
{
	my $before = inode($two);
	my $w = $c->start_writer(50);
	is($one->query("SELECT pg_ha_reinit('$two->{name}')"), 't', 'asked for on another member');
	wait_until('the copy to begin', 20, sub { ($c->kv("members/$two->{name}") // '') =~ /creating replica/ }, 0.01);
	like(error($one, "SELECT pg_ha_reinit('$two->{name}')"), qr/already in progress/, 'one at a time');
	wait_until('the old copy to be kept aside', 20, sub { -d "$two->{data}/pg_ha.old" }, 0.005);
	pass('the old copy is kept aside');
	$c->wait_healthy(60);
	isnt(inode($two), $before, 'a new copy');
	is($two->query('SELECT count(*) FROM ballast'), 150000, 'with all rows');
	wait_until('the old copy to go', 20, sub { !-e "$two->{data}/pg_ha.old" });
	pass('the old copy is removed when the new one streams');
	$c->stop_writer($w);
	is($c->lost_rows($w), 0, 'nothing was lost');
}

# its own instance: the answer comes before the session is cut
{
	my $before = inode($one);
	is($one->query("SELECT pg_ha_reinit('$one->{name}')"), 't', 'its own instance');
	wait_until('a new copy', 60, sub { (inode($one) // $before) != $before });
	$c->wait_healthy(60);
}

# the source goes away half-way: the old copy is in place again, or a new one is
# made from the next leader; the member ends healthy
{
	is($one->query("SELECT pg_ha_reinit('$two->{name}')"), 't', 'reinit');
	wait_until('the copy to begin', 20, sub { -d "$two->{data}/pg_ha.old" }, 0.005);
	$leader->query("SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'pg_basebackup'");
	$c->wait_healthy(60);
	is($two->query('SELECT count(*) FROM ballast'), 150000, 'it streams, with all rows');
	wait_until('no copy to be left', 20, sub { !-e "$two->{data}/pg_ha.old" && !-e "$two->{data}/pg_ha.clone" });
	ok(count($two, 'failed') > 0, 'and an event says what happened');

	is($one->query("SELECT pg_ha_reinit('$two->{name}')"), 't', 'once more');
	wait_until('the copy to begin', 20, sub { -d "$two->{data}/pg_ha.old" }, 0.005);
	$leader->kill_node;
	$leader->start;
	$c->wait_healthy(90);
	is($two->query('SELECT count(*) FROM ballast'), 150000, 'the leader died half-way: it streams, with all rows');
	wait_until('no copy to be left', 20, sub { !-e "$two->{data}/pg_ha.old" });
}

# without a leader there is nothing to copy
{
	$leader = $c->leader;
	($one, $two) = $c->standbys;
	is($one->query('SELECT pg_ha_pause()'), 't', 'paused');
	$leader->kill_node;
	wait_until('its keys to go', 60, sub { !defined $c->kv("members/$leader->{name}") });
	wait_until('the others to see that', 10, sub { error($one, "SELECT pg_ha_reinit('$two->{name}')") =~ /Cluster has no leader, can not reinitialize/ });
	pass('refused');
	$leader->start;
	$c->wait_healthy(90);
	is($one->query('SELECT pg_ha_resume()'), 't', 'resumed');
}

done_testing;
