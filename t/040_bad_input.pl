# Bad input: each is named with a hint, what time can heal is tried again, and
# no file is ever lost or half-written.

use strict;
use warnings;
use File::Path qw(make_path);
use JSON::PP;
use PgHa::Cluster qw(wait_until slurp spit run_ok);
use Test::More;
use Time::HiRes qw(sleep);

my $bin = $ENV{PGHA_BINDIR};

# A launcher that must end by itself: its exit code and all it said.
sub launch
{
	my ($m, @command) = @_;
	my ($rc, $out, $err) = run_ok('timeout', 20, "$bin/pg_ha_launcher", '--config', $m->{conf}, @command);
	return ($rc, $out . $err);
}

# The settings as they should be, with these lines added.
sub refused
{
	my ($m, $what, $lines, @messages) = @_;
	local $m->{extra} = $lines;
	$m->write_conf;
	my ($rc, $text) = launch($m);
	is($rc, 1, "$what: refused");
	like($text, $_, "$what: says so") for @messages;
}

sub logged
{
	my ($m, $what, $re, $seconds) = @_;
	ok(eval { wait_until($what, $seconds // 20, sub { $m->log_count($re) }) }, $what)
		or diag(slurp($m->{log}));
}

sub serves
{
	my ($m) = @_;
	return ($m->try_query('SELECT pg_is_in_recovery()') // '') eq 'f'
		&& ($m->try_query("SELECT pg_ha_status()->'fence'->>'state'") // '') eq 'open';
}

my $c = PgHa::Cluster->new(members => 1, ttl => 2, node_settings => 'max_worker_processes = 0');
my ($m) = $c->members;
$c->plan_consul;

# --- what is refused before anything is touched -----------------------------

{
	my $file = qr/\Q$m->{conf}\E:\d+: /;
	refused($m, 'unknown setting', "pg_ha.consul_url = 'x'",
		qr/${file}unrecognized setting "pg_ha.consul_url"/, qr/hint: Perhaps you meant "pg_ha.consul_urls"/);
	refused($m, 'malformed line', "pg_ha.log_level 'info", $file, qr/hint: A line reads: name = 'value'/);
	refused($m, 'value out of range', "pg_ha.fence_wait = '2h'",
		qr/${file}2h is outside the valid range for parameter "pg_ha.fence_wait"/, qr/hint: Allowed is 0 to 3600000 ms/);
	refused($m, 'not one of the values', 'pg_ha.log_level = loud',
		qr/${file}invalid value for parameter "pg_ha.log_level": "loud"/, qr/hint: Allowed are debug, info, warning, error/);
	refused($m, 'not a Boolean', 'pg_ha.fence_reads = perhaps', qr/${file}.*"pg_ha.fence_reads"/, qr/hint: Allowed are on and off/);
	refused($m, 'no address', "pg_ha.connect_address = 'here'", qr/${file}"pg_ha.connect_address" is not host:port/, qr/hint: For example/);
	refused($m, 'tags that are not JSON', "pg_ha.tags = '{nofailover}'", qr/${file}"pg_ha.tags"/, qr/hint: For example/);
	refused($m, 'an owned setting', 'hot_standby = off', qr/${file}"hot_standby" can't be set/, qr/hint: /);
	refused($m, 'state inside the data directory', "pg_ha.state_directory = '$m->{data}/state'",
		qr/${file}"pg_ha.state_directory" is inside the data directory/, qr/hint: pg_rewind/);

	$m->write_conf;
	spit($m->{conf}, slurp($m->{conf}) =~ s/^pg_ha.scope.*\n//mr);
	my ($rc, $text) = launch($m);
	is($rc, 1, 'missing setting: refused');
	like($text, qr/\Q$m->{conf}\E: "pg_ha.scope" is not set\nhint: Name of the cluster/, 'missing setting: says which and what it is');
	($rc, $text) = run_ok('timeout', 20, "$bin/pg_ha_launcher", '--config', "$m->{dir}/none.conf");
	is($rc, 1, 'no such settings file: refused');
}

# this machine
{
	refused($m, 'no program', "pg_ha.bin_directory = '$m->{dir}'",
		qr/program "\Q$m->{dir}\E\/postgres" can't be run: No such file/, qr/hint: Install it, or set "pg_ha.bin_directory"/);
	refused($m, 'no such certificate', "pg_ha.consul_ca_file = 'none.pem'",
		qr/"pg_ha.consul_ca_file" can't be read: No such file/, qr/hint: Correct the path/);

	$m->write_conf;
	my $passwords = slurp("$m->{dir}/passfile");
	spit("$m->{dir}/passfile", $passwords =~ s/^.*replicator.*\n//mr);
	my ($rc, $text) = launch($m);
	is($rc, 1, 'no password of the replication user: refused');
	like($text, qr/passfile" has no line for user "replicator" and database "replication"; hint: Add a line/,
		'no password of the replication user: says so');
	spit("$m->{dir}/passfile", $passwords);
	chmod 0644, "$m->{dir}/passfile";
	($rc, $text) = launch($m);
	is($rc, 1, 'open password file: refused');
	like($text, qr/password file "\Q$m->{dir}\E\/passfile" is accessible to group or others.*hint: chmod 600/, 'open password file: says so');
}

SKIP:
{
	skip 'root may write everywhere', 4 if $> == 0;
	chmod 0500, $m->{state};
	refused($m, 'state directory read-only', '', qr/state directory "\Q$m->{state}\E" can't be written: Permission denied; hint: chmod 700/);
	chmod 0700, $m->{state};
	refused($m, 'state directory cannot be made', "pg_ha.state_directory = '/proc/pg_ha'",
		qr/state directory "\/proc\/pg_ha" is missing and can't be made.*hint: As root: install -d/);
}

SKIP:
{
	skip 'not root', 2 if $> != 0;
	$m->write_conf;
	my ($rc, $text) = launch($m);
	is($rc, 1, 'root: refused');
	like($text, qr/does not run as root.*hint: /s, 'root: says so');
}

# Debian's own cluster is only looked at, by --check
SKIP:
{
	my ($conf) = grep { -r $_ } glob '/etc/postgresql/15/*/postgresql.conf';
	my ($data) = $conf ? slurp($conf) =~ /^data_directory = '(.*?)'/m : ();
	skip 'no cluster of Debian\'s is set up on this machine', 1 unless $data;
	(my $start = $conf) =~ s/postgresql\.conf$/start.conf/;
	local $m->{extra} = "pg_ha.data_directory = '$data'";
	$m->write_conf;
	my ($rc, $text) = launch($m, '--check');
	my $says = qr/problem: the system's own service may start the same data directory: "\Q$start\E" says ".*"\n +hint: echo disabled/;
	if (slurp($start) =~ /^\s*disabled/m) { unlike($text, $says, 'start.conf is disabled, and not complained of') }
	else { like($text, $says, 'start.conf is not disabled: says so') }
}
ok(!-e $m->{data}, 'nothing was made by any of these');
is_deeply([ glob "$m->{state}/*" ], [], 'nor written');

# --- what time heals --------------------------------------------------------

# Consul is absent, then the first configuration can't be used
{
	$m->write_conf;
	my $good = slurp("$m->{dir}/bootstrap.json");
	spit("$m->{dir}/bootstrap.json", '{"ttl": 2,');
	$m->start(keep_files => 1);
	logged($m, 'Consul is absent: says so', qr/level=warning Consul does not answer: .*127\.0\.0\.1/);
	logged($m, 'a configuration that is not JSON: says so at once', qr/bootstrap\.json:1: .*hint: Correct the file/);

	my ($rc, $text) = launch($m);
	is($rc, 1, 'a second launcher: refused');
	like($text, qr/another pg_ha_launcher runs for member "n1" \(pid $m->{launcher_pid}\)/, 'a second launcher: the pid of the first');
	ok(!-e "$m->{data}/PG_VERSION", 'nothing is made without Consul');
	is($m->log_count(qr/Consul does not answer/), 1, 'said once');

	$c->start_consul;
	logged($m, 'Consul is there: says so', qr/Consul answers again/);
	logged($m, 'a configuration that is not JSON: says so when it is needed',
		qr/could not use pg_ha.bootstrap_config: .*bootstrap\.json: line 1: .*hint: correct the file/, 40);
	ok(!defined $c->kv('config') && !defined $c->kv('status') && !defined $c->kv('initialize'), 'and nothing is written');
	spit("$m->{dir}/bootstrap.json", '{"ttl": 2, "loop_wait": 5, "retry_timeout": 3}');
	logged($m, 'a configuration that breaks the rule of ttl: says so', qr/could not use .*loop_wait \+ 2 \* retry_timeout/);
	ok(!defined $c->kv('config'), 'and is not written');
	spit("$m->{dir}/bootstrap.json", $good);
	wait_until('the cluster', 30, sub { serves($m) });
	pass('the corrected file is taken, the cluster begins');
	is_deeply(decode_json($c->kv('config')), decode_json($good), 'with that configuration');
	cmp_ok($m->query('SHOW max_worker_processes'), '>=', 2, 'max_worker_processes = 0 of the node settings is not believed');
}

# a directory that is none, on a second member
{
	my $other = $c->add_member('n2');
	make_path($other->{data}, { mode => 0700 });
	spit("$other->{data}/letter", "precious\n");
	$other->start;
	logged($other, 'not a data directory: says so', qr/can't be used: .*not empty, but no data directory/);
	is(slurp("$other->{data}/letter"), "precious\n", 'and leaves it as it is');
	is($other->log_count(qr/can't be used/), 1, 'said once');
	unlink "$other->{data}/letter";
	ok($c->wait_healthy(40), 'emptied, it is cloned');
	is($other->stop, 0, 'and stops');
	pop @{ $c->{members} };
	$c->kv_delete('members/n2');
}

# a server that was started by hand
{
	is($m->stop, 0, 'a clean stop');
	run_ok("$bin/pg_ctl", '-D', $m->{data}, '-w', '-t', '30', '-l', "$m->{dir}/byhand.log",
		'-o', "-p $m->{port} -k $m->{run}", 'start');
	my $pid = $m->postmaster_pid;
	ok($pid, 'a server runs that was started by hand') or diag slurp("$m->{dir}/byhand.log");
	my ($rc, $text) = launch($m, '--check');
	is($rc, 1, '--check finds it');
	like($text, qr/problem: a server that pg_ha did not start runs in "\Q$m->{data}\E" \(process $pid\)\n +hint: Stop it.*pg_ctl/, 'and names its pid');
	$m->start;
	logged($m, 'a foreign server: the launcher says so', qr/in use by another postmaster, pid $pid; hint: stop it/);
	sleep 2;
	is($m->log_count(qr/in use by another postmaster/), 1, 'once');
	is($m->postmaster_pid, $pid, 'and leaves it alone');
	run_ok("$bin/pg_ctl", '-D', $m->{data}, '-w', '-m', 'fast', 'stop');
	wait_until('the member to serve', 30, sub { serves($m) });
	pass('once it is stopped, the member starts');
	isnt($m->postmaster_pid, $pid, 'as a server of its own');
	$m->stop;
}

# the worker does not come up
{
	make_path("$m->{dir}/bin", "$m->{dir}/lib");
	symlink $_, "$m->{dir}/bin/" . s/.*\///r for glob "$bin/*";
	my (undef, $lib) = run_ok("$bin/pg_config", '--pkglibdir');
	chomp $lib;
	symlink "$lib/pg_ha.so", "$m->{dir}/lib/pg_ha.so";
	unlink "$m->{dir}/bin/postgres";
	spit("$m->{dir}/bin/postgres", <<"SH");
#!/bin/sh
case "\$1" in
	-D) exec '$bin/postgres' "\$@" -c dynamic_library_path='$m->{dir}/lib' ;;
	*) exec '$bin/postgres' "\$@" ;;
esac
SH
	chmod 0755, "$m->{dir}/bin/postgres";
	$m->{extra} = "pg_ha.bin_directory = '$m->{dir}/bin'";
	$m->start;
	wait_until('the server to answer', 30, sub { defined $m->try_query('SELECT 1') });
	my $status = $m->status;
	is($status->{worker_pid}, 0, 'no worker runs');
	like($status->{reason} . $status->{hint}, qr/no worker.*server's log/, 'pg_ha_status() says so');
	is($status->{fence}{state}, 'closed', 'and nothing can be written');
	logged($m, 'the launcher says so', qr/its pg_ha worker has not connected; hint: .*max_worker_processes/, 30);
	is($m->stop, 0, 'and stops it');
	$m->{extra} = '';
}

# the launcher is killed at any moment while it writes its files
{
	my %whole = (
		'postgresql.conf' => sub { $_[0] =~ /\n\z/ }, 'pg_hba.conf' => sub { $_[0] =~ /\n\z/ },
		'pg_ident.conf' => sub { $_[0] =~ /\n\z/ }, 'follow.conf' => sub { $_[0] =~ /\n\z/ },
		map { ($_ => sub { eval { decode_json($_[0]); 1 } }) } qw(lease.json node.json config.json));
	my (@broken, %seen);
	srand($ENV{PGHA_SEED} // 40);
	for my $round (1 .. 20)
	{
		# the files differ each time
		$m->{extra} = "work_mem = '${round}MB'";
		$m->start;
		sleep(rand(0.2));
		$m->kill_launcher;
		for my $file (sort keys %whole)
		{
			next unless -e "$m->{state}/$file";
			my $text = slurp("$m->{state}/$file");
			$seen{$file}++;
			push @broken, "$file in round $round: " . substr($text, -40) unless $whole{$file}->($text);
		}
		push @broken, "no lease.json in round $round" unless -e "$m->{state}/lease.json";
		$m->kill_node if $round % 2;
	}
	is_deeply(\@broken, [], 'no file is half-written, whenever the launcher is killed');
	ok($seen{'postgresql.conf'} && $seen{'lease.json'}, 'they were looked at');
	$m->{extra} = "work_mem = '21MB'";
	$m->start;
	wait_until('the member to serve', 40, sub { serves($m) });
	pass('it starts all the same');
	$m->kill_node;
	$m->start;
	wait_until('the member to serve', 40, sub { serves($m) });
	is($m->query('SHOW work_mem'), '21MB', 'with its settings');
	is($m->stop, 0, 'and stops');
	# now that nobody writes one
	is_deeply([ glob "$m->{state}/*.tmp.*" ], [], 'no temporary file is left');
}

# --- a token that Consul does not know --------------------------------------

{
	my $token = '66666666-7777-8888-9999-000000000000';
	my $closed = PgHa::Cluster->new(name => '040_bad_token', members => 1, ttl => 2, consul_config => { acl => {
		enabled => JSON::PP::true, default_policy => 'deny' } });
	my ($n) = $closed->members;
	spit("$n->{dir}/token", "$token\n");
	$n->{extra} = "pg_ha.consul_token_file = 'token'";
	chmod 0644, "$n->{dir}/token";
	$closed->start_consul;
	$n->write_conf;
	my ($rc, $text) = launch($n);
	is($rc, 1, 'a token that others can read: refused');
	like($text, qr/"pg_ha.consul_token_file" is accessible to group or others; hint: chmod 600/, 'and named');
	chmod 0600, "$n->{dir}/token";
	$n->start;
	logged($n, 'a wrong token: says so', qr/Consul denies access: .*; hint: the token's policy must allow key_prefix "service\/main\/"/);
	sleep 1.5;
	is($n->log_count(qr/Consul denies access/), 1, 'once');
	unlike(slurp($n->{log}), qr/$token/, 'the token is not shown');
	ok(!-e "$n->{data}/PG_VERSION", 'nothing is made');
	my $root = wait_until('the first token of Consul', 20, sub {
		my ($code, $answer) = PgHa::Cluster::http('PUT', $closed->consul_url . '/v1/acl/bootstrap');
		$code == 200 && decode_json($answer)->{SecretID} }, 0.5);
	my $put = sub {
		my ($path, $document) = @_;
		my (undef, $answer) = run_ok('curl', '-s', '-m', 5, '-X', 'PUT', '-H', "X-Consul-Token: $root",
			$closed->consul_url . "/v1/acl/$path", '--data-binary', encode_json($document));
		return eval { decode_json($answer) } // diag("$path: $answer"); };
	my $policy = $put->('policy', { Name => 'pg_ha', Rules => 'key_prefix "service/" { policy = "write" }' });
	$put->('token', { SecretID => $token, Policies => [ { Name => 'pg_ha' } ] });
	sleep 3;
	cmp_ok($n->log_count(qr/Consul (denies|answers)/), '<=', 1, 'a policy without sessions: no flood of words');
	ok(!-e "$n->{data}/PG_VERSION", 'and nothing is made');
	$put->("policy/$policy->{ID}", { Name => 'pg_ha', Rules => 'key_prefix "service/" { policy = "write" } session_prefix "" { policy = "write" }' });
	wait_until('the cluster', 40, sub { serves($n) });
	pass('once the policy is right, the cluster begins');
	is($n->stop, 0, 'and stops');
}

done_testing;
