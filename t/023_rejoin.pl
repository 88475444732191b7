# An old primary comes back: with WAL the others never had (rewind), with the
# WAL a rewind needs gone (clone), and killed half-way through either.

use strict;
use warnings;
use PgHa::Cluster qw(wait_until);
use Test::More;

my $c = PgHa::Cluster->new(members => 3, ttl => 3);
$c->start;

# The leader dies as a node after writing what no standby got.
sub diverge
{
	my (%o) = @_;
	my $old = $c->leader;
	$old->query('CREATE TABLE IF NOT EXISTS t(i int)');
	my @walreceivers = map { my $s = $_; grep { PgHa::Cluster::slurp("/proc/$_/cmdline") =~ /walreceiver/ } $s->instance_pids } $c->standbys;
	is(scalar @walreceivers, 2, 'two receivers are frozen');
	kill 'STOP', @walreceivers;
	$old->query('INSERT INTO t SELECT generate_series(1, 1000)');
	$old->query('CHECKPOINT') if $o{checkpoint};
	$old->kill_node;
	kill 'KILL', @walreceivers;
	my $new = wait_until('another leader', 30, sub { my $l = $c->leader; $l && $l != $old ? $l : 0 });
	$new->query('INSERT INTO t VALUES (-1)');
	return $old;
}

my $events = sub { my ($m, $action) = @_; scalar grep { $_->{action} eq $action } $m->events };

{
	my $old = diverge();
	$old->start;
	ok($c->wait_healthy(60), 'the old primary with WAL of its own streams again');
	is($events->($old, 'rewound'), 1, 'it was rewound');
	is($events->($old, 'cloned'), $old->{clones} // $events->($old, 'cloned'), 'not cloned');
	is($old->query('SELECT count(*) FROM t WHERE i = -1'), $c->leader->query('SELECT count(*) FROM t WHERE i = -1'),
		'it has what the new leader wrote');
}

{
	my $old = diverge();
	my $clones = $events->($old, 'cloned');
	# the WAL before the fork is gone
	my @wal = sort grep { /[0-9A-F]{24}$/ } glob("$old->{data}/pg_wal/*");
	unlink @wal;
	$old->start;
	ok($c->wait_healthy(90), 'without the WAL of a rewind it streams again');
	cmp_ok($events->($old, 'cloned'), '>', $clones, 'it was cloned');
}

{
	# a rewind killed half-way: freeze pg_rewind, kill the launcher and it
	my $old = diverge();
	$old->start;
	my $pid = wait_until('pg_rewind', 40, sub { (child($old, 'pg_rewind'))[0] }, 0.002);
	$old->kill_launcher;
	kill 'KILL', child($old, 'pg_rewind');
	$old->start;
	ok($c->wait_healthy(90), 'a rewind killed half-way: it streams again');
}

{
	my ($standby) = $c->standbys;
	$standby->stop;
	PgHa::Cluster::run_ok('rm', '-rf', $standby->{data});
	$standby->start;
	wait_until('pg_basebackup', 40, sub { (child($standby, 'pg_basebackup'))[0] }, 0.002);
	$standby->kill_launcher;
	kill 'KILL', child($standby, 'pg_basebackup');
	$standby->start;
	ok($c->wait_healthy(90), 'a clone killed half-way: it streams again');
}

sub child
{
	my ($m, $name) = @_;
	my @found;
	for my $proc (glob '/proc/[0-9]*')
	{
		my $cmd = PgHa::Cluster::slurp("$proc/cmdline");
		next unless $cmd =~ /^[^\0]*\Q$name\E\0/ && index($cmd, $m->{data}) >= 0;
		push @found, $proc =~ /(\d+)$/;
	}
	return @found;
}

# a directory that PostgreSQL can't read is copied anew, if it was the cluster's
{
	my ($standby) = $c->standbys;
	$standby->stop;
	PgHa::Cluster::spit("$standby->{data}/global/pg_control", "\0" x 8192);
	$standby->start;
	$c->wait_healthy(60);
	ok($standby->log_count('pg_control" has a wrong checksum') > 0, 'a destroyed pg_control: said, and cloned anew');
}

done_testing;
