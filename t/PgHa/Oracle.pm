# What must hold whatever happened: the oracles of a scenario.
#
#   my $watch = PgHa::Oracle->new($net);   # writers on each member and on all
#   ...a fault, and its healing...
#   my $seen = $watch->judge(%expected);   # {violations => [...], gap => ..., lost => ...}
#
#   O1 what was acknowledged is there; O3 what a node took along with it may be
#      missing: only acknowledgements after the fault, and few
#   O2 acknowledgements of two members never interleave: timelines never go back
#   O4 all members have the leader's timelines
#   O5 one leader serves, all others stream from it, within the bound
#   O6 who acknowledged held the lock, as Consul's own log has it
#   O7 no PANIC, no corruption
#
# Times are milliseconds of CLOCK_MONOTONIC, which all nodes share here.

package PgHa::Oracle;

use strict;
use warnings;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
use PgHa::Cluster qw(wait_until slurp);

use constant HEALTHY_WITHIN_S => 60;

# An asynchronous standby lags by what is on its way.
use constant LAG_MS => 500;

my $PINNED = 'user=postgres dbname=postgres connect_timeout=2 keepalives_idle=2 keepalives_interval=1 keepalives_count=20';

sub now_ms { return clock_gettime(CLOCK_MONOTONIC) * 1000 }

sub new
{
	my ($class, $net, %o) = @_;
	my $self = bless { net => $net, fault_at => now_ms() }, $class;
	my $dsn = $net->dsn . ' tcp_user_timeout=2000';
	$self->{all} = $net->start_writer(50, node => 'client', dsn => $dsn,
		options => [ '-r', 20, '-t', 4000 ]);
	for my $m ($net->members)
	{
		$self->{pinned}{ $m->{name} } = $net->start_writer(20, node => 'client', nowait => 1,
			dsn => "host=$m->{host} port=$m->{port} $PINNED", options => [ '-r', 100 ]);
	}
	$self->pipeline($_) for $o{pipelines} ? $net->members : ();
	$self->{logged} = { map { $_->{name} => -s $_->{log} } $net->members };
	my $leader = $net->leader;
	$self->{before} = { leader => $leader, postmaster => $leader->postmaster_pid, lease => $net->lease };
	$net->wait_writing($self->{pinned}{ $leader->{name} }, 20, 5);
	return $self;
}

# A client pinned to a member that has 16 inserts under way at any time.
sub pipeline
{
	my ($self, $m) = @_;
	my $net = $self->{net};
	my $n = ++$net->{writers};
	my $w = { log => "$net->{dir}/writer$n.ids", out => "$net->{dir}/writer$n.out", first => $n * 100_000_000 };
	$w->{pid} = $net->spawn_on('client', "writer$n", $w->{out}, "$net->{tools}/pipeline_writer",
		"host=$m->{host} port=$m->{port} $PINNED", 16, $w->{first}, $w->{log});
	push @{ $self->{pipelines} }, $w;
	$self->{pinned}{"$m->{name}, pipelined"} = $w;
	$self->{of}{"$m->{name}, pipelined"} = $m->{name};
}

# The moment from which acknowledgements may be lost, and gaps count.
sub fault_begins { my ($self) = @_; $self->{fault_at} = now_ms() }

sub writers { my ($self) = @_; return ($self->{all}, values %{ $self->{pinned} }) }

# [time, timeline, id, member or undef], in the order of time
sub acknowledgements
{
	my ($self) = @_;
	my @acks;
	my %member = map { $self->{pinned}{$_}{first} => $self->{of}{$_} // $_ } keys %{ $self->{pinned} };
	for my $w ($self->writers)
	{
		for my $line (split /\n/, slurp($w->{log}))
		{
			my ($id, $ms, $timeline) = $line =~ /^(\d+) (\d+) ([0-9A-F]+)$/ or next;
			push @acks, [ $ms, hex $timeline, $id, $member{ $w->{first} } ];
		}
	}
	return sort { $a->[0] <=> $b->[0] } @acks;
}

# The longest time from the fault on in which nobody's commit was acknowledged.
sub gap
{
	my ($self, @acks) = @_;
	my $last = $self->{fault_at};
	my $gap = 0;
	for my $ack (@acks)
	{
		next if $ack->[0] < $self->{fault_at};
		$gap = $ack->[0] - $last if $ack->[0] - $last > $gap;
		$last = $ack->[0];
	}
	return $gap / 1000;
}

sub lost
{
	my ($self, $leader, @acks) = @_;
	my $first = $self->{all}{first};
	my %there = map { $_ => 1 } split /\n/, $leader->query("SELECT id FROM pg_ha_writer WHERE id >= $first");
	return grep { !$there{ $_->[2] } } @acks;
}

# O1, O3
sub judge_lost
{
	my ($self, $may_lose, @lost) = @_;
	return () unless @lost;
	my $count = @lost;
	return "O1: $count acknowledged rows are lost" unless $may_lose;
	my @early = grep { $_->[0] < $self->{fault_at} - LAG_MS } @lost;
	return 'O3: ' . @early . ' rows acknowledged before the fault are lost' if @early;
	return ();
}

# O2
sub judge_order
{
	my ($self, @acks) = @_;
	my ($highest, %of, @wrong);
	for my $ack (@acks)
	{
		my ($ms, $timeline, $id, $member) = @$ack;
		push @wrong, "O2: row $id was acknowledged on timeline $timeline after another on $highest"
			if defined $highest && $timeline < $highest;
		$highest = $timeline if !defined $highest || $timeline > $highest;
		next unless $member;
		push @wrong, "O2: $member and $of{$timeline} both wrote timeline $timeline"
			if ($of{$timeline} //= $member) ne $member;
	}
	return @wrong;
}

# O6: the holder at that time.  An entry [asked, seen, ..] came true in between.
sub judge_lock
{
	my ($self, @acks) = @_;
	my @log = map { my ($asked, $seen, $index, $holder, $term) = split / /;
		{ asked => $asked, seen => $seen, holder => $holder, term => $term } }
		grep { !/^\d+ \d+ 0 / } split /\n/, slurp("$self->{net}{dir}/lease.log");
	my @wrong;
	# a run of entries of one holder: [holder, from at the earliest, to at the latest]
	my @runs;
	for my $e (@log)
	{
		next if $e->{holder} eq '-';
		if (@runs && $runs[-1]{holder} eq $e->{holder}) { next }
		$runs[-1]{to} = $e->{seen} if @runs;
		push @runs, { holder => $e->{holder}, from => $e->{asked}, to => 9e15 };
	}
	for my $ack (grep { $_->[3] } @acks)
	{
		my ($ms, undef, $id, $member) = @$ack;
		next if grep { $_->{holder} eq $member && $ms >= $_->{from} && $ms <= $_->{to} } @runs;
		push @wrong, "O6: $member acknowledged row $id without holding the lock";
	}
	return @wrong;
}

# O4
sub judge_timelines
{
	my ($self, $leader) = @_;
	my @wrong;
	my $timeline = $leader->query('SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)');
	my $history = slurp("$leader->{data}/pg_wal/$timeline.history");
	for my $m ($self->{net}->members)
	{
		next if $m == $leader;
		my $its = $m->query("SELECT lpad(to_hex(received_tli), 8, '0') FROM pg_stat_wal_receiver");
		push @wrong, "O4: $m->{name} streams timeline $its, not $timeline" if lc $its ne lc $timeline;
		push @wrong, "O4: $m->{name} has another history of timeline $timeline"
			if hex($timeline) > 1 && slurp("$m->{data}/pg_wal/$timeline.history") ne $history;
	}
	my @forks = $history =~ /^(\d+)\t/mg;
	push @wrong, 'O4: the timelines do not ascend' if grep { $forks[$_] <= $forks[ $_ - 1 ] } 1 .. $#forks;
	return @wrong;
}

# O7
sub judge_logs
{
	my ($self) = @_;
	my @wrong;
	for my $m ($self->{net}->members)
	{
		my $log = substr(slurp($m->{log}), $self->{logged}{ $m->{name} } // 0);
		push @wrong, map { "O7: $m->{name}: $_" }
			grep { /PANIC|invalid page in block|could not read block|page verification failed/ } split /\n/, $log;
	}
	return @wrong;
}

# O5 first: the others ask a cluster that is whole.
sub judge
{
	my ($self, %expected) = @_;
	my $net = $self->{net};
	my %seen = (violations => []);
	my $healed_at = now_ms();
	my $healthy = eval { $net->wait_healthy(HEALTHY_WITHIN_S) };
	$seen{whole} = (now_ms() - $healed_at) / 1000;
	if ($healthy)
	{
		$net->wait_writing($self->{all}, 20);
	}
	$net->stop_writer($_) for $self->writers;
	if (!$healthy)
	{
		$seen{violations} = [ 'O5: not one leader with all others streaming within ' . HEALTHY_WITHIN_S . ' s' ];
		return \%seen;
	}
	my $leader = $net->leader;
	my @acks = $self->acknowledgements;
	my @lost = $self->lost($leader, @acks);
	$seen{acknowledged} = @acks;
	$seen{lost} = @lost;
	$seen{gap} = $self->gap(@acks);
	$seen{leader} = [ $self->{before}{leader}{name}, $leader->{name} ];
	$seen{term} = [ $self->{before}{lease}{term}, $net->lease->{term} ];
	$seen{restarted} = ($self->{before}{leader}->postmaster_pid // 0) != $self->{before}{postmaster};
	$seen{violations} = [ $self->judge_lost($expected{may_lose}, @lost), $self->judge_order(@acks),
		$self->judge_lock(@acks), $self->judge_timelines($leader), $self->judge_logs,
		$self->judge_expected(\%seen, %expected) ];
	return \%seen;
}

# What this scenario in particular promises.
sub judge_expected
{
	my ($self, $seen, %expected) = @_;
	my @wrong;
	my $changed = $seen->{term}[0] != $seen->{term}[1] || $seen->{leader}[0] ne $seen->{leader}[1];
	my $want = $expected{leader} // 'any';
	push @wrong, "the leader changed from $seen->{leader}[0] to $seen->{leader}[1], term $seen->{term}[1]" if $want eq 'same' && $changed;
	push @wrong, "the leader moved from $seen->{leader}[0] to $seen->{leader}[1]"
		if $want eq 'same member' && $seen->{leader}[0] ne $seen->{leader}[1];
	push @wrong, 'another member was to lead' if $want eq 'other' && $seen->{leader}[0] eq $seen->{leader}[1];
	push @wrong, 'the leader was restarted' if $expected{no_restart} && $seen->{restarted};
	my $most = ($expected{gap} // 'inf') * ($ENV{PATIENCE} || 1);
	push @wrong, sprintf('%.2f s without a commit, at most %g are allowed', $seen->{gap}, $most) if $seen->{gap} > $most;
	return @wrong;
}

1;
