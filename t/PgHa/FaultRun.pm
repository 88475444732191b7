# Runs scenarios of PgHa::Faults against one cluster, one after the other, and
# writes down what was seen: a line of $TESTDIR/faults.tsv each.
#
#   row what why result leader gap lost whole note

package PgHa::FaultRun;

use strict;
use warnings;
use IO::Handle;
use Test::More;
use Time::HiRes qw(time);
use PgHa::Cluster qw(spit slurp wait_until);
use PgHa::Faults;
use PgHa::Net;
use PgHa::Oracle;

sub skip_reason { return PgHa::Net::unavailable() }

sub new
{
	my ($class, %o) = @_;
	my $net = PgHa::Net->new(%o, ttl => 3, config => { loop_wait => 0.5, retry_timeout => 1, primary_stop_timeout => 5 });
	my $self = bless { net => $net, tsv => "$ENV{TESTDIR}/faults.tsv" }, $class;
	$net->start;
	$net->spawn_on('watch', 'log of the lease', "$net->{dir}/lease_log.out", $^X, 't/tools/lease_log',
		"$net->{dir}/lease.log", 'service/main', map { $net->consul_url($_) } 0 .. 2);
	open(my $tsv, '>>', $self->{tsv}) or die "$self->{tsv}: $!";
	$tsv->autoflush(1);
	$self->{out} = $tsv;
	return $self;
}

sub in_words
{
	my ($seen) = @_;
	return '' unless $seen->{leader};
	my ($from, $to) = @{ $seen->{leader} };
	my $what = $from ne $to ? "$from to $to" : $seen->{term}[0] != $seen->{term}[1] ? "$from, new term" : 'same';
	return $what . ($seen->{restarted} ? ', restarted' : '');
}

# One scenario, and the judgement of all oracles.
sub run
{
	my ($self, $s) = @_;
	my $net = $self->{net};
	my $begun = time;
	# without a vote of each, the next fault may cost Consul its majority
	wait_until('every Consul server to vote', 90, sub { $net->voters == 3 }, 0.3);
	my $leader = $net->leader(30);
	my $oracle = $net->{oracle} = PgHa::Oracle->new($net, pipelines => $s->{pipelines});
	$oracle->fault_begins;
	my $done = eval { $s->{run}->($net, $leader, $oracle); 1 };
	my $error = $done ? undef : $@;
	chomp $error if $error;
	$net->heal;
	my $seen = $oracle->judge(%$s);
	my @wrong = ($error // (), @{ $seen->{violations} });
	@wrong = (@wrong[0 .. 8], '... and ' . (@wrong - 9) . ' more') if @wrong > 10;
	$self->write_down($s, $seen, @wrong);
	ok(!@wrong, sprintf('%d: %s', $s->{row}, $s->{what}));
	diag("  promised: $s->{why}\n", map { "  $_\n" } @wrong) if @wrong;
	note sprintf('leader: %s; %.2f s without a commit; %d of %d lost; whole after %.1f s; %.0f s in all', in_words($seen),
		$seen->{gap} // -1, $seen->{lost} // -1, $seen->{acknowledged} // -1, $seen->{whole} // -1, time - $begun);
	# without a cluster there is nothing to go on with
	BAIL_OUT('the cluster did not heal') unless defined $seen->{leader};
	return !@wrong;
}

sub write_down
{
	my ($self, $s, $seen, @wrong) = @_;
	my @fields = ($s->{row}, $s->{what}, $s->{why}, @wrong ? 'FAILED' : 'held', in_words($seen),
		map({ defined $_ ? sprintf('%.2f', $_) : '' } $seen->{gap}), $seen->{lost} // '',
		map({ defined $_ ? sprintf('%.1f', $_) : '' } $seen->{whole}), join('; ', @wrong));
	s/[\t\n]+/ /g for @fields;
	print { $self->{out} } join("\t", @fields), "\n";
}

# O7 at the end: every page and every index, on disk.
sub finish
{
	my ($self) = @_;
	my $net = $self->{net};
	my $leader = $net->leader;
	$leader->query('CREATE EXTENSION IF NOT EXISTS amcheck');
	is($leader->query("SELECT count(*) FROM (SELECT bt_index_check(indexrelid, true) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam WHERE amname = 'btree' AND relpersistence = 'p') x") > 50, 1,
		'O7: amcheck finds every index whole');
	$net->stop;
	for my $m ($net->members)
	{
		my ($rc, $out, $err) = PgHa::Cluster::run_ok("$ENV{PGHA_BINDIR}/pg_checksums", '--check', '-D', $m->{data});
		is($rc, 0, "O7: every page of $m->{name} has its checksum") or diag($out, $err);
	}
}

1;
