# A real cluster for a test: Consul, members under their launchers, clients.
#
#   my $c = PgHa::Cluster->new(members => 3, ttl => 3);
#   $c->start;                          # Consul and all members, healthy
#   my $leader = $c->leader;            # a PgHa::Member
#   $leader->kill_postmaster;
#   $c->wait_healthy;
#
# Every process is ended in END by its pid; every wait is bounded and says what
# it waited for.  Files are below $TESTDIR (or PGHA_WORK) / the test's name.

package PgHa::Cluster;

use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(basename);
use File::Path qw(make_path remove_tree);
use IO::Socket::INET;
use IPC::Run ();
use JSON::PP;
use MIME::Base64 qw(decode_base64);
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(sleep time);
use PgHa::Member;

our @EXPORT_OK = qw(free_port slurp spit wait_until run_ok http);

my %children;    # pid => what it is
my $owner = $$;

# Ports are taken by binding; a file lock keeps parallel tests apart.
my %given;

sub free_port
{
	for (1 .. 1000)
	{
		my $port = 20000 + int(rand(12000));
		next if $given{$port};
		my $lock = work_base() . "/port-$port";
		next unless mkdir $lock;
		my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1);
		if ($s)
		{
			close $s;
			$given{$port} = $lock;
			return $port;
		}
		rmdir $lock;
	}
	die "no free port";
}

sub work_base
{
	my $dir = $ENV{PGHA_WORK} // '/tmp';
	make_path("$dir/ports");
	return "$dir/ports";
}

sub slurp
{
	my ($file) = @_;
	open(my $fh, '<', $file) or return '';
	local $/;
	return <$fh> // '';
}

sub spit
{
	my ($file, $text) = @_;
	open(my $fh, '>', $file) or die "$file: $!";
	print $fh $text;
	close $fh or die "$file: $!";
}

# Wait for a condition; dies saying what did not come.
sub wait_until
{
	my ($what, $seconds, $condition, $step) = @_;
	my $until = time + $seconds;
	while (1)
	{
		my $value = $condition->();
		return $value if $value;
		die "timed out after $seconds s waiting for $what\n" if time > $until;
		sleep($step // 0.05);
	}
}

# A program's exit code, stdout and stderr.
sub run_ok
{
	my (@cmd) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run(\@cmd, '<', \undef, '>', \$out, '2>', \$err);
	return ($? >> 8, $out, $err);
}

sub http
{
	my ($method, $url, $body) = @_;
	my @cmd = ('curl', '-s', '-m', '5', '-X', $method, '-w', "\n%{http_code}", $url);
	push @cmd, '--data-binary', $body if defined $body;
	my ($rc, $out) = run_ok(@cmd);
	my ($text, $code) = $out =~ /^(.*)\n(\d+)$/s;
	return ($code // 0, $text // '');
}

sub new
{
	my ($class, %o) = @_;
	my $name = $o{name} // basename($0, '.pl');
	my $dir = ($ENV{TESTDIR} // "$ENV{PGHA_WORK}/tap") . "/$name";
	my $self = bless {
		scope => $o{scope} // 'main',
		ttl => $o{ttl} // 3,
		config => $o{config} // {},
		node_settings => $o{node_settings} // '',
		dir => $dir,
		members => [],
		consul_servers => $o{consul_servers} // 1,
		raft_multiplier => $o{raft_multiplier} // 1,
		consul_config => $o{consul_config} // {},
		consul => [],
	}, $class;
	remove_tree($dir);
	make_path($dir);
	$self->add_member("n$_") for 1 .. ($o{members} // 3);
	return $self;
}

sub add_member
{
	my ($self, $name, %o) = @_;
	my $m = PgHa::Member->new($self, $name, %o);
	push @{ $self->{members} }, $m;
	return $m;
}

sub members { return @{ $_[0]{members} } }

sub member
{
	my ($self, $name) = @_;
	my ($m) = grep { $_->{name} eq $name } $self->members;
	return $m;
}

# Start a program in the background; its output goes to a file.
sub spawn
{
	my ($self, $what, $log, @cmd) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', $log) or die;
		open(STDERR, '>>', $log) or die;
		exec(@cmd) or POSIX::_exit(127);
	}
	$children{$pid} = $what;
	return $pid;
}

# On a node of its own, where there are any (PgHa::Net).
sub spawn_on { my ($self, $node, @what) = @_; return $self->spawn(@what) }

# The host by which a test asks a member.
sub reach { my ($self, $m) = @_; return $m->{host} }

# Reap a child that was told to end; its exit status.
sub reap
{
	my ($self, $pid, $seconds) = @_;
	my $status;
	wait_until("$children{$pid} to end", $seconds // 30,
		sub { my $r = waitpid($pid, WNOHANG); $status = $?; $r != 0 }, 0.01);
	delete $children{$pid};
	return $status;
}

sub forget { delete $children{ $_[1] } }

# --- Consul ----------------------------------------------------------------

# Its ports, for members that start before it.
sub plan_consul
{
	my ($self) = @_;
	for my $i (0 .. $self->{consul_servers} - 1)
	{
		$self->{consul}[$i] //= {
			host => '127.0.0.1', http => free_port(), lan => free_port(),
			rpc => free_port(), dir => "$self->{dir}/consul$i" };
	}
}

sub start_consul
{
	my ($self) = @_;
	my $n = $self->{consul_servers};
	$self->plan_consul;
	$self->start_consul_server($_) for 0 .. $n - 1;
	wait_until('Consul to elect a leader', 30,
		sub { my ($code, $text) = http('GET', $self->consul_url . '/v1/status/leader');
			$code == 200 && $text =~ /\d/ });
	return;
}

sub start_consul_server
{
	my ($self, $i) = @_;
	my $s = $self->{consul}[$i];
	make_path($s->{dir});
	my @join = map { ('-retry-join', "$_->{host}:$_->{lan}") }
		grep { $_ != $s } @{ $self->{consul} };
	spit("$s->{dir}/c.json", encode_json({
		ports => { http => $s->{http}, dns => -1, grpc => -1, serf_lan => $s->{lan},
			serf_wan => -1, server => $s->{rpc} },
		performance => { raft_multiplier => $self->{raft_multiplier} },
		node_name => "consul$i", disable_update_check => JSON::PP::true,
		leave_on_terminate => JSON::PP::false, %{ $self->{consul_config} } }));
	$s->{pid} = $self->spawn_on($s->{node}, "consul$i", "$s->{dir}.log", $ENV{PGHA_CONSUL}, 'agent',
		'-server', '-bootstrap-expect', $self->{consul_servers}, '-data-dir', "$s->{dir}/data",
		'-config-file', "$s->{dir}/c.json", '-bind', $s->{host}, '-retry-interval', '1s',
		'-client', $s->{client} // $s->{host}, @join);
}

sub consul_url { my ($self, $i) = @_; my $s = $self->{consul}[$i // 0]; return "http://$s->{host}:$s->{http}" }

sub consul_signal
{
	my ($self, $signal) = @_;
	kill $signal, $_->{pid} for @{ $self->{consul} };
}

# A key's value, or undef.
sub kv
{
	my ($self, $key) = @_;
	my ($code, $text) = http('GET', $self->consul_url . "/v1/kv/service/$self->{scope}/$key?consistent");
	return undef unless $code == 200;
	return decode_base64(decode_json($text)->[0]{Value} // '');
}

sub kv_put
{
	my ($self, $key, $value) = @_;
	my ($code, $text) = http('PUT', $self->consul_url . "/v1/kv/service/$self->{scope}/$key", $value);
	return $text =~ /true/;
}

sub kv_delete
{
	my ($self, $key) = @_;
	return http('DELETE', $self->consul_url . "/v1/kv/service/$self->{scope}/$key");
}

sub lease
{
	my ($self) = @_;
	my $text = $self->kv('status') // return undef;
	my $doc = eval { decode_json($text) } // return undef;
	return $doc->{lease};
}

# --- the cluster -----------------------------------------------------------

sub first_config
{
	my ($self) = @_;
	my $pg = $self->{config}{postgresql} // {};
	return { ttl => $self->{ttl}, %{ $self->{config} },
		postgresql => {
			pg_hba => [ 'local all all trust', 'host all all 127.0.0.1/32 trust', @{ $self->{hba} // [] } ],
			%$pg } };
}

sub start
{
	my ($self) = @_;
	$self->start_consul unless @{ $self->{consul} };
	$_->start for $self->members;
	$self->wait_healthy(60);
	return $self;
}

# The member whose instance is a writable primary under the current lease.
sub leader
{
	my ($self, $seconds) = @_;
	return wait_until('a leader', $seconds // 30, sub {
		my $lease = $self->lease;
		return undef unless $lease && !$lease->{released};
		my $m = $self->member($lease->{holder}) or return undef;
		my $answer = $m->try_query('SELECT NOT pg_is_in_recovery()') // '';
		return $answer eq 't' ? $m : undef;
	});
}

sub standbys
{
	my ($self) = @_;
	my $leader = $self->leader;
	return grep { $_ != $leader } $self->members;
}

# One leader serves, and every other member streams from it.
sub wait_healthy
{
	my ($self, $seconds, @members) = @_;
	@members = grep { $_->{launcher_pid} } $self->members unless @members;
	my $others = @members - 1;
	my $last = '';
	my $ok = eval {
		wait_until('one leader and all others streaming', $seconds // 60, sub {
			my $lease = $self->lease or return 0;
			my $leader = $self->member($lease->{holder} // '') or return 0;
			$last = "lease of $lease->{holder}";
			my $streaming = $leader->try_query(
				"SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name <> 'pg_basebackup'") // return 0;
			$last .= ", $streaming streaming";
			return 0 unless $streaming >= $others;
			# a sender may not know yet that its receiver has gone
			for my $m (grep { $_ != $leader } @members)
			{
				my $status = $m->try_query("SELECT coalesce((SELECT status FROM pg_stat_wal_receiver), 'no receiver')");
				$last = "$m->{name}: " . ($status // 'answers no query');
				return 0 unless ($status // '') eq 'streaming';
			}
			my $open = $leader->try_query("SELECT pg_ha_status()->'fence'->>'state'") // '';
			$last .= ", fence $open";
			return $open eq 'open';
		}, 0.1); };
	return 1 if $ok;
	my $error = $@;
	diag("$error last: $last");
	$self->dump;
	die $error;
}

sub dsn
{
	my ($self) = @_;
	my @m = $self->members;
	return 'host=' . join(',', map { $_->{host} } @m) . ' port=' . join(',', map { $_->{port} } @m)
		. ' user=postgres dbname=postgres target_session_attrs=read-write connect_timeout=2';
}

# A client that inserts through all hosts; stop_writer returns what it saw.
sub start_writer
{
	my ($self, $rate, %o) = @_;
	my $n = ++$self->{writers};
	my $w = { log => "$self->{dir}/writer$n.ids", out => "$self->{dir}/writer$n.out" };
	$w->{first} = $n * 100_000_000;
	$w->{pid} = $self->spawn_on($o{node}, "writer$n", $w->{out}, "$ENV{PGHA_BINDIR}/pg_ha_writer",
		@{ $o{options} // [] }, $o{dsn} // $self->dsn, $rate, $w->{first}, $w->{log});
	wait_until('the first acknowledged row', 15, sub { -s $w->{log} }) unless $o{nowait};
	return $w;
}

sub writer_count { my ($self, $w) = @_; return scalar(split /\n/, slurp($w->{log})) }

# Wait until the writer has rows acknowledged after now.
sub wait_writing
{
	my ($self, $w, $seconds, $more) = @_;
	my $before = $self->writer_count($w);
	wait_until('the writer to go on', $seconds // 30,
		sub { $self->writer_count($w) >= $before + ($more // 5) });
}

sub stop_writer
{
	my ($self, $w) = @_;
	kill 'TERM', $w->{pid};
	$self->reap($w->{pid}, 30);
	my ($ack, $failed, $gap) = slurp($w->{out}) =~ /acknowledged=(\d+) failed=(\d+) gap_ms=([\d.]+)/;
	return { acknowledged => $ack, failed => $failed, gap_ms => $gap };
}

# How many rows acknowledged to this writer are not in the leader's table.
sub lost_rows
{
	my ($self, $w, $leader) = @_;
	$leader //= $self->leader;
	my %there = map { $_ => 1 } split /\n/, $leader->query('SELECT id FROM pg_ha_writer');
	my @ids = map { (split / /)[0] } split /\n/, slurp($w->{log});
	my @lost = grep { !$there{$_} } @ids;
	diag('lost: ' . join(' ', @lost[0 .. ($#lost > 9 ? 9 : $#lost)])) if @lost;
	return scalar @lost;
}

sub dump
{
	my ($self) = @_;
	diag("$_->{name}:\n" . join("\n", grep { defined } (split /\n/, slurp($_->{log}))[-25 .. -1]))
		for grep { -e $_->{log} } $self->members;
}

sub stop
{
	my ($self) = @_;
	$_->stop for reverse grep { $_->{launcher_pid} } $self->members;
}

END
{
	if ($$ == $owner)
	{
		my $status = $?;
		kill 'CONT', keys %children;
		kill 'KILL', keys %children;
		PgHa::Member::kill_all();
		waitpid($_, 0) for keys %children;
		rmdir $_ for values %given;
		$? = $status;
	}
}

1;
