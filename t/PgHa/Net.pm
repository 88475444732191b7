# A cluster whose nodes have networks of their own, and what can befall them.
#
#   n1 n2 n3    a member and a Consul server each
#   client      the writers
#   watch       the test itself, and the log of the lease; never cut off
#
# Each is a network namespace with a cable to one bridge, which has a namespace,
# too: nothing of the machine's own network is touched, and only the names,
# pgha-PID-n1, must be unique.  Needs root; what runs on the nodes is postgres.
#
#   my $net = PgHa::Net->new(ttl => 3);   # then as PgHa::Cluster
#   $net->cut('n1', 'n2');                # what n1 sends to n2 is lost
#   $net->isolate('n1', only => 'consul');
#   $net->power_off('n1');
#   $net->heal;                           # everything as it was
#
# A process beside the test waits for its end, however it comes, and removes
# what is left.

package PgHa::Net;

use strict;
use warnings;
use parent -norequire, 'PgHa::Cluster';
use File::Path qw(make_path remove_tree);
use JSON::PP;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time clock_gettime CLOCK_MONOTONIC);
use PgHa::Cluster qw(wait_until run_ok slurp spit http);

our $TOKEN = '9a1c6e3e-5c1b-4c0a-8d4f-2f6f6b1f0c11';      # the members'
my $MANAGEMENT = '3f0b7d52-7a57-4f38-9a55-0d5a8b7d7e22';    # the operator's

my %ADDRESS = (n1 => '10.77.0.1', n2 => '10.77.0.2', n3 => '10.77.0.3',
	client => '10.77.0.9', watch => '10.77.0.10');
my @NODES = qw(n1 n2 n3);
my %PORTS = (consul => '8300, 8301, 8500', members => '5432, 8008');
my %SETNS = (x86_64 => 308, aarch64 => 268);

my $mother = $$;
my $prefix = "pgha-$mother";
my $guard;    # the end of a pipe; when it is closed, all is removed
my $guard_pid;

# Why this can't run here, or undef.
sub unavailable
{
	return 'network namespaces need root' if $< != 0;
	return 'setns is not known on this machine' unless $SETNS{ (POSIX::uname())[4] };
	for my $program (qw(ip nft nsenter setpriv))
	{
		return "there is no $program" if system("command -v $program >/dev/null") != 0;
	}
	return 'ip netns add does not work here' if system("ip netns add $prefix-try 2>/dev/null") != 0;
	my $rc = system("ip netns exec $prefix-try nft add table inet try 2>/dev/null");
	system("ip netns del $prefix-try");
	return $rc ? 'nft does not work here' : undef;
}

sub as_root
{
	my ($code) = @_;
	local $> = 0;
	return $code->();
}

sub root_ok
{
	my (@cmd) = @_;
	my ($rc, $out, $err) = as_root(sub { run_ok(@cmd) });
	die "@cmd: $err" if $rc;
	return $out;
}

sub ns { return "$prefix-$_[0]" }

# --- setting up and clearing away ------------------------------------------

sub new
{
	my ($class, %o) = @_;
	start_guard();
	make_network();
	enter('watch');
	# the group, too: else what the processes of that user are at is not shown
	my (undef, undef, $uid, $gid) = getpwnam($ENV{PGHA_USER}) or die "no user $ENV{PGHA_USER}";
	$) = "$gid $gid";
	$> = $uid;
	umask 022;
	my $self = $class->SUPER::new(%o, members => 0, consul_servers => 3,
		# a server that comes back votes at once, and is not taken out meanwhile
		consul_config => { autopilot => { cleanup_dead_servers => JSON::PP::false, server_stabilization_time => '200ms' }, acl => { enabled => JSON::PP::true, default_policy => 'allow',
			tokens => { master => $MANAGEMENT } } });
	$self->{hba} = ['host all all 10.77.0.0/24 trust'];
	$self->{tools} = "$self->{dir}/tools";
	make_path($self->{tools});
	build_tool($_, $self->{tools}) for qw(slow_link pipeline_writer clock_step.so);
	spit("$self->{dir}/token", $TOKEN);
	chmod 0600, "$self->{dir}/token";
	for my $i (0 .. 2)
	{
		my $node = $NODES[$i];
		$self->{consul}[$i] = { host => $ADDRESS{$node}, http => 8500, lan => 8301, rpc => 8300,
			client => "$ADDRESS{$node} 127.0.0.1", node => $node, dir => "$self->{dir}/consul$i" };
		my $m = $self->add_member($node, host => $ADDRESS{$node}, port => 5432, rest => 8008,
			node => $node, consul => $i, extra => "pg_ha.consul_token_file = '$self->{dir}/token'");
		$m->{env} = { LD_PRELOAD => "$self->{tools}/clock_step.so", CLOCK_STEP => "$m->{dir}/clock" };
	}
	return $self;
}

sub build_tool
{
	my ($name, $dir) = @_;
	my ($source) = $name =~ /(\w+)/;
	my @shared = $name =~ /\.so$/ ? ('-shared', '-fPIC') : ();
	chomp(my $include = `$ENV{PG_CONFIG} --includedir`);
	my @client = $source =~ /writer/ ? ("-I$include", '-lpq') : ();
	system($ENV{CC} // 'cc', '-std=gnu11', '-O1', @shared, '-o', "$dir/$name", "t/tools/$source.c", @client) == 0
		or BAIL_OUT("t/tools/$source.c does not compile");
}

# The process that clears away: it has the other end of a pipe that ends with
# the test.
sub start_guard
{
	pipe(my $read, $guard) or die "pipe: $!";
	$guard_pid = fork // die "fork: $!";
	return if $guard_pid;
	close $guard;
	POSIX::setsid();
	$SIG{$_} = 'IGNORE' for qw(INT TERM HUP PIPE);
	my $byte;
	1 while sysread($read, $byte, 1);
	clear_away();
	POSIX::_exit(0);
}

sub pids_of
{
	my ($node) = @_;
	my (undef, $out) = as_root(sub { run_ok('ip', 'netns', 'pids', ns($node)) });
	return grep { $_ != $mother } split ' ', $out;
}

sub clear_away
{
	my @all = (@NODES, qw(client watch hub));
	for (1 .. 50)
	{
		my @left = map { pids_of($_) } grep { -e '/run/netns/' . ns($_) } @all;
		last unless @left;
		kill 'KILL', @left;
		sleep 0.1;
	}
	open(my $mounts, '<', '/proc/mounts');
	/^$prefix (\S+)/ and system('umount', '-l', $1) for <$mounts>;
	run_ok('ip', 'netns', 'del', ns($_)) for @all;
}

sub make_network
{
	my $hub = ns('hub');
	root_ok('sh', '-ec', "ip netns add $hub; ip -n $hub link set lo up; ip -n $hub link add br0 type bridge; ip -n $hub link set br0 up");
	for my $node (sort keys %ADDRESS)
	{
		my $ns = ns($node);
		root_ok('sh', '-ec', <<"SH");
ip netns add $ns
ip -n $ns link set lo up
ip link add eth0 netns $ns type veth peer name $node netns $hub
ip -n $hub link set $node master br0 up
ip -n $ns addr add $ADDRESS{$node}/24 dev eth0
ip -n $ns link set eth0 up
nsenter --net=/run/netns/$ns nft 'add table inet fault; add chain inet fault in { type filter hook input priority 0; }'
SH
	}
}

# From here on this process is on that node.
sub enter
{
	my ($node) = @_;
	open(my $ns, '<', '/run/netns/' . ns($node)) or die $!;
	syscall($SETNS{ (POSIX::uname())[4] }, fileno($ns), 0x40000000) == 0 or die "setns: $!";
}

sub command_on
{
	my ($node, $user, @cmd) = @_;
	my @as = $user eq 'root' ? ('--ruid=0') : ("--reuid=$user", "--regid=$user", '--init-groups');
	return ('nsenter', '--net=/run/netns/' . ns($node), 'setpriv', @as, @cmd);
}

sub spawn_on
{
	my ($self, $node, $what, $log, @cmd) = @_;
	# nsenter would be preloaded, too, and setpriv
	my @env = map { "$_=" . delete $ENV{$_} } grep { exists $ENV{$_} } qw(LD_PRELOAD CLOCK_STEP);
	@cmd = command_on($node, $ENV{PGHA_USER}, @env ? ('env', @env) : (), @cmd);
	return as_root(sub { $self->spawn($what, $log, @cmd) });
}

# The run directory is everybody's, whatever the network does.
sub reach { my ($self, $m) = @_; return $m->{run} }

END
{
	if ($guard_pid && $guard)
	{
		my $status = $?;
		close $guard;
		waitpid($guard_pid, 0);
		$? = $status;
	}
}

# --- the network -----------------------------------------------------------

# What one sends to the other is lost; only: a kind of traffic (%PORTS)
sub cut
{
	my ($self, $from, $to, %o) = @_;
	my @match = $o{only}
		? map { "meta l4proto { tcp, udp } th $_ { $PORTS{$o{only}} }" } qw(sport dport)
		: ('');
	root_ok('nsenter', '--net=/run/netns/' . ns($to), 'nft',
		join(';', map { "add rule inet fault in ip saddr $ADDRESS{$from} $_ drop" } @match));
}

sub cut_both { my ($self, $a, $b, %o) = @_; $self->cut($a, $b, %o); $self->cut($b, $a, %o) }

# Cut a node off from the others; but: those that it still sees
sub isolate
{
	my ($self, $node, %o) = @_;
	my %but = map { $_ => 1 } @{ $o{but} // [] };
	my @others = grep { $_ ne $node && $_ ne 'watch' && !$but{$_} } sort keys %ADDRESS;
	for my $other (@others)
	{
		$self->cut($node, $other, %o);
		$self->cut($other, $node, %o) unless $o{outbound};
	}
}

sub unplug { my ($self, $node) = @_; root_ok('ip', '-n', ns('hub'), 'link', 'set', $node, 'down') }
sub plug { my ($self, $node) = @_; root_ok('ip', '-n', ns('hub'), 'link', 'set', $node, 'up') }

# A bad cable: frames of one kind of traffic are late, lost and overtaken.
sub slow_link
{
	my ($self, $node, %o) = @_;
	my $hub = ns('hub');
	root_ok('sh', '-ec', <<"SH");
ip -n $hub link set $node nomaster
ip -n $hub link add slow0 type veth peer name slow1
ip -n $hub link set slow1 master br0 up
ip -n $hub link set slow0 up
SH
	my @ports = $PORTS{ $o{only} } =~ /(\d+)/g;
	my @cmd = command_on('hub', 'root', "$self->{tools}/slow_link", $node, 'slow0',
		$o{delay_ms}, $o{loss} // 0, $o{reorder} // 0, 1, @ports);
	$self->{slow} = { node => $node,
		pid => as_root(sub { $self->spawn('slow link', "$self->{dir}/slow_link.log", @cmd) }) };
}

sub mend_link
{
	my ($self) = @_;
	my $slow = delete $self->{slow} or return;
	as_root(sub { kill 'KILL', $slow->{pid} });
	$self->reap($slow->{pid});
	my $hub = ns('hub');
	root_ok('sh', '-ec', "ip -n $hub link del slow0; ip -n $hub link set $slow->{node} master br0");
}

sub mend_network
{
	my ($self) = @_;
	for my $node (sort keys %ADDRESS)
	{
		root_ok('nsenter', '--net=/run/netns/' . ns($node), 'nft', 'flush chain inet fault in');
		$self->plug($node);
	}
	$self->mend_link;
}

# --- nodes -----------------------------------------------------------------

sub freeze
{
	my ($self, $node) = @_;
	for (1 .. 3) { kill 'STOP', pids_of($node) }    # what was forked meanwhile, too
}

sub thaw { my ($self, $node) = @_; kill 'CONT', pids_of($node) }

# Power is lost: everything on the node ends at once, and its connections say
# nothing about it.
sub power_off
{
	my ($self, $node) = @_;
	$self->unplug($node);
	my $m = $self->member($node);
	my $s = $self->consul_of($node);
	wait_until("everything on $node to end", 15, sub {
		my @pids = pids_of($node) or return 1;
		kill 'KILL', @pids;
		return 0;
	}, 0.02);
	for my $h ([ $m, 'launcher_pid' ], [ $s, 'pid' ])
	{
		my $pid = delete $h->[0]{ $h->[1] } or next;
		$self->reap($pid);
	}
}

sub power_on
{
	my ($self, $node) = @_;
	$self->plug($node);
	$self->start_consul_on($node);
	my $m = $self->member($node);
	$m->start unless $m->{launcher_pid};
}

# --- Consul ----------------------------------------------------------------

sub consul_of { my ($self, $node) = @_; return (grep { $_->{node} eq $node } @{ $self->{consul} })[0] }

sub stop_consul_on
{
	my ($self, $node, $signal) = @_;
	my $s = $self->consul_of($node);
	my $pid = delete $s->{pid} or return;
	kill $signal // 'KILL', $pid;
	$self->reap($pid);
}

sub start_consul_on
{
	my ($self, $node) = @_;
	my ($i) = grep { $self->{consul}[$_]{node} eq $node } 0 .. 2;
	$self->start_consul_server($i) unless $self->{consul}[$i]{pid};
}

sub voters
{
	my ($self) = @_;
	my $out = $self->consul_do('GET', '/v1/operator/raft/configuration') // '';
	return scalar(() = $out =~ /"Voter":\s*true/g);
}

# The URL of a server that knows a leader; undef if there is none.
sub live_url
{
	my ($self) = @_;
	for my $i (0 .. 2)
	{
		my ($rc, $out) = run_ok('curl', '-s', '-m', '1', $self->consul_url($i) . '/v1/status/leader');
		return $self->consul_url($i) if !$rc && $out =~ /\d/
			&& !(run_ok('curl', '-sf', '-m', '2', $self->consul_url($i) . '/v1/kv/?keys&consistent'))[0];
	}
	return undef;
}

sub consul_leader
{
	my ($self) = @_;
	for my $i (0 .. 2)
	{
		my ($rc, $out) = run_ok('curl', '-s', '-m', '1', $self->consul_url($i) . '/v1/status/leader');
		my ($address) = $out =~ /"([\d.]+):/ or next;
		my ($node) = grep { $ADDRESS{$_} eq $address } @NODES;
		return $node if $node;
	}
	return undef;
}

# Freeze whatever other server leads until the one on this node does.
sub lead_consul_on
{
	my ($self, $node) = @_;
	for (1 .. 8)
	{
		my $now = wait_until('a leader of Consul', 20, sub { $self->consul_leader });
		return 1 if $now eq $node;
		my $pid = $self->consul_of($now)->{pid};
		kill 'STOP', $pid;
		my $ok = eval { wait_until('another leader of Consul', 10, sub {
			my $l = $self->consul_leader; $l && $l ne $now }) };
		kill 'CONT', $pid;
		sleep 0.5;
	}
	return 0;
}

# The whole of a method with curl's answer, from a server that can answer.
sub consul_do
{
	my ($self, $method, $path, @more) = @_;
	my $url = wait_until('Consul', 30, sub { $self->live_url });
	my ($rc, $out) = run_ok('curl', '-s', '-m', '10', '-X', $method, '-H', "X-Consul-Token: $MANAGEMENT", "$url$path", @more);
	return $rc ? undef : $out;
}

sub kv_url { my ($self) = @_; return $self->live_url // $self->consul_url }

# As in PgHa::Cluster, by whichever server answers.
sub kv
{
	my ($self, $key) = @_;
	my $url = $self->live_url // return undef;
	my ($code, $text) = http('GET', "$url/v1/kv/service/$self->{scope}/$key?consistent");
	return $code == 200 ? MIME::Base64::decode_base64(decode_json($text)->[0]{Value} // '') : undef;
}

sub kv_put { my ($self, $key, $value) = @_; return ($self->consul_do('PUT', "/v1/kv/service/$self->{scope}/$key", '--data-binary', $value) // '') =~ /true/ }
sub kv_delete { my ($self, $key) = @_; $self->consul_do('DELETE', "/v1/kv/service/$self->{scope}/$key") }

sub make_token
{
	my ($self) = @_;
	wait_until('the token', 20, sub {
		my $out = $self->consul_do('PUT', '/v1/acl/token', '-d', encode_json({ SecretID => $TOKEN, Description => 'members' })) // '';
		return 1 if $out =~ /AccessorID|already in use/;
		return 0; }, 0.3);
}

sub revoke_token
{
	my ($self) = @_;
	for my $token (@{ decode_json($self->consul_do('GET', '/v1/acl/tokens')) })
	{
		$self->consul_do('DELETE', "/v1/acl/token/$token->{AccessorID}") if $token->{Description} eq 'members';
	}
}

sub start_consul
{
	my ($self) = @_;
	$self->start_consul_on($_) for @NODES;
	wait_until('Consul to elect a leader', 40, sub { $self->live_url }, 0.2);
	$self->make_token;
}

sub stop_consul { my ($self, $signal) = @_; $self->stop_consul_on($_, $signal) for @NODES }

# All of Consul's data is gone; it starts as on the first day.
sub wipe_consul
{
	my ($self) = @_;
	$self->stop_consul;
	remove_tree("$_->{dir}/data") for @{ $self->{consul} };
	$self->start_consul;
}

sub save_snapshot
{
	my ($self) = @_;
	$self->consul_do('GET', '/v1/snapshot', '-o', "$self->{dir}/snapshot") // die 'no snapshot';
}

sub restore_snapshot
{
	my ($self) = @_;
	$self->consul_do('PUT', '/v1/snapshot', '--data-binary', "\@$self->{dir}/snapshot");
}

# --- the cluster -----------------------------------------------------------

sub start
{
	my ($self) = @_;
	$self->start_consul;
	$_->start for $self->members;
	$self->wait_healthy(60);
	return $self;
}

sub pause
{
	my ($self, $on) = @_;
	my $config = decode_json($self->kv('config'));
	$config->{pause} = $on ? JSON::PP::true : JSON::PP::false;
	$self->kv_put('config', encode_json($config));
}

sub step_clock { my ($self, $m, $seconds) = @_; spit("$m->{dir}/clock", $seconds) }

# Everything that a fault took is given back; the cluster does the rest.
sub heal
{
	my ($self) = @_;
	$self->mend_network;
	$self->thaw($_) for @NODES;
	unlink "$_->{dir}/clock" for $self->members;
	$self->start_consul;
	$_->{launcher_pid} || $_->start for $self->members;
}

1;
