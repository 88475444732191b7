# A member was promoted and died before anybody heard of it: its timeline's
# number is never used again, so what it wrote is told from what the cluster has.

use strict;
use warnings;
use JSON::PP;
use MIME::Base64;
use PgHa::Cluster qw(wait_until);
use Test::More;

my $c = PgHa::Cluster->new(members => 5, ttl => 3);
$c->start;
my $old = $c->leader;
my ($dead, $late, @rest) = $c->standbys;
my $bin = $ENV{PGHA_BINDIR};

sub by_hand
{
	my ($m, @sql) = @_;
	my ($rc) = PgHa::Cluster::run_ok("$bin/pg_ctl", '-D', $m->{data}, '-w', '-t', '30', '-l', "$m->{dir}/byhand.log",
		'-o', "-p $m->{port} -k $m->{run} -c shared_preload_libraries=''", 'start');
	is($rc, 0, 'started by hand') or diag PgHa::Cluster::slurp("$m->{dir}/byhand.log");
	($rc) = PgHa::Cluster::run_ok("$bin/pg_ctl", '-D', $m->{data}, '-w', '-t', '30', 'promote');
	is($rc, 0, 'promoted');
	for (@sql)
	{
		my ($code, undef, $err) = PgHa::Cluster::run_ok("$bin/psql", '-XAtq', '-h', $m->{run}, '-p', $m->{port}, '-U', 'postgres', '-c', $_, 'postgres');
		is($code, 0, $_) or diag $err;
	}
	PgHa::Cluster::run_ok("$bin/pg_ctl", '-D', $m->{data}, '-w', '-m', 'immediate', 'stop');
}

# What the takeover of a member that then died leaves in status.
sub claim
{
	my ($timeline) = @_;
	wait_until('the claim to be written', 10, sub {
		my $url = $c->consul_url . "/v1/kv/service/$c->{scope}/status";
		my ($code, $text) = PgHa::Cluster::http('GET', "$url?consistent");
		my $key = decode_json($text)->[0];
		my $status = decode_json(decode_base64($key->{Value}));
		$status->{lease}{claimed_timeline} = $timeline;
		($code, $text) = PgHa::Cluster::http('PUT', "$url?cas=$key->{ModifyIndex}", encode_json($status));
		$text =~ /true/ });
}

sub timelines
{
	return join ' ', map { $_->query(
		q{SELECT coalesce((SELECT received_tli FROM pg_stat_wal_receiver), ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int)}) } @_;
}

$old->query('CREATE TABLE t(who text)');
wait_until('the table on the standbys', 20, sub { !grep { !defined $_->try_query('SELECT 1 FROM t') } @rest, $dead });

is($late->stop, 0, 'a member is down all the while');
$dead->kill_node;
by_hand($dead, q{INSERT INTO t VALUES ('dead')});
claim(2);
wait_until('the leader to go on', 20, sub { $c->lease->{claimed_timeline} == 2 && $c->lease->{holder} eq $old->{name} });
$old->query(q{INSERT INTO t VALUES ('old')});
is($c->lease->{claimed_timeline}, 2, 'heartbeats keep what was claimed');
$old->kill_node;

my $new = wait_until('another leader', 30, sub { my $l = $c->leader; $l && $l != $old ? $l : 0 });
ok($c->wait_healthy(60), 'the other standby streams from it, over the number left out');
is(timelines(@rest), '3 3', 'both are on the timeline after the claimed one');
is($c->lease->{claimed_timeline}, 3, 'which the takeover had claimed');
$new->query(q{INSERT INTO t VALUES ('new')});

$dead->start;
$old->start;
ok($c->wait_healthy(90), 'the others are back');
is(timelines(grep { $_ != $late } $c->members), '3 3 3 3', 'all are on one timeline');
is(scalar(grep { $_->{action} eq 'rewound' } $dead->events), 1, 'the one that nobody heard of was rewound');
wait_until('all rows everywhere', 20, sub { 4 == grep { $_ != $late && ($_->try_query(q{SELECT string_agg(who, ' ' ORDER BY who) FROM t}) // '') eq 'new old' } $c->members });
pass('and has the rows of the others, and none of its own');

# what was left out is in nobody's way later
$_->stop for grep { $_ != $new && $_ != $late } $c->members;
my $postmaster = $new->kill_postmaster;
wait_until('the leader to be restarted', 40, sub { ($new->postmaster_pid // $postmaster) != $postmaster && ($new->try_query('SELECT NOT pg_is_in_recovery()') // '') eq 't' });
$late->start;
ok($c->wait_healthy(60), 'a member on the first timeline follows a leader that was restarted');
is(timelines($late), '3', 'over the number left out');
$_->start for grep { $_ != $new && $_ != $late } $c->members;
ok($c->wait_healthy(60), 'standbys start with it');
$new->kill_node;
wait_until('the next leader', 30, sub { my $l = $c->leader; $l && $l != $new ? $l : 0 });
$new->start;
ok($c->wait_healthy(60), 'the next failover');
is(timelines($c->members), '4 4 4 4 4', 'begins the next timeline');

# a promotion that does not come about leaves nothing behind
my ($m) = $c->standbys;
$m->kill_node;
PgHa::Cluster::spit("$m->{data}/pg_wal/00000005.history", "# number given to another leadership, skipped by pg_ha\n");
$m->start;
ok($c->wait_healthy(60), 'a standby that died before its promotion starts');
ok(!-e "$m->{data}/pg_wal/00000005.history", 'without the number it had left out');

done_testing;
