# One member: its settings file, its launcher, its instance.

package PgHa::Member;

use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use JSON::PP;
use Time::HiRes qw(sleep time);

my @all;

sub new
{
	my ($class, $cluster, $name, %o) = @_;
	my $dir = "$cluster->{dir}/$name";
	my $self = bless {
		cluster => $cluster, name => $name, dir => $dir,
		data => $o{data} // "$dir/data", state => "$dir/state", run => "$dir/run",
		host => $o{host} // '127.0.0.1', node => $o{node},
		port => $o{port} // PgHa::Cluster::free_port(),
		rest => $o{rest} // PgHa::Cluster::free_port(),
		conf => "$dir/node.conf", log => "$dir/launcher.log",
		extra => $o{extra} // '', consul => $o{consul} // 0,
	}, $class;
	make_path($dir, $self->{state}, $self->{run});
	chmod 0700, $self->{state}, $self->{run};
	push @all, $self;
	return $self;
}

sub write_conf
{
	my ($self) = @_;
	my $c = $self->{cluster};
	my $n = $c->{consul_servers};
	my $urls = join(', ', map { $c->consul_url(($self->{consul} + $_) % $n) } 0 .. $n - 1);
	PgHa::Cluster::spit("$self->{dir}/passfile",
		"*:*:*:replicator:secret\n*:*:*:rewinder:secret\n*:*:*:postgres:secret\n");
	chmod 0600, "$self->{dir}/passfile";
	PgHa::Cluster::spit("$self->{dir}/bootstrap.json", encode_json($c->first_config));
	PgHa::Cluster::spit($self->{conf}, <<"CONF");
pg_ha.scope = '$c->{scope}'
pg_ha.name = '$self->{name}'
pg_ha.data_directory = '$self->{data}'
pg_ha.connect_address = '$self->{host}:$self->{port}'
pg_ha.state_directory = '$self->{state}'
pg_ha.run_directory = '$self->{run}'
pg_ha.consul_urls = '$urls'
pg_ha.restapi_listen = '$self->{host}:$self->{rest}'
pg_ha.passfile = '$self->{dir}/passfile'
pg_ha.bootstrap_config = '$self->{dir}/bootstrap.json'
listen_addresses = '$self->{host}'
unix_socket_directories = '$self->{run}'
max_wal_size = 256MB
min_wal_size = 80MB
$c->{node_settings}
$self->{extra}
CONF
}

# keep_files: with the files as the test left them
sub start
{
	my ($self, %o) = @_;
	$self->write_conf unless $o{keep_files};
	local %ENV = (%ENV, %{ $self->{env} // {} });
	$self->{launcher_pid} = $self->{cluster}->spawn_on($self->{node}, "launcher of $self->{name}", $self->{log},
		"$ENV{PGHA_BINDIR}/pg_ha_launcher", '--config', $self->{conf});
	return $self;
}

# A clean stop: SIGTERM to the launcher; its exit code.
sub stop
{
	my ($self, $seconds) = @_;
	my $pid = delete $self->{launcher_pid} or return 0;
	kill 'TERM', $pid;
	return $self->{cluster}->reap($pid, $seconds // 60) >> 8;
}

sub launcher_signal { my ($self, $signal) = @_; kill $signal, $self->{launcher_pid} }

sub kill_launcher
{
	my ($self) = @_;
	my $pid = delete $self->{launcher_pid} or return;
	kill 'KILL', $pid;
	$self->{cluster}->reap($pid);
}

sub postmaster_pid
{
	my ($self) = @_;
	my ($pid) = PgHa::Cluster::slurp("$self->{data}/postmaster.pid") =~ /^(\d+)/;
	return $pid && kill(0, $pid) ? $pid : undef;
}

sub kill_postmaster { my ($self, $signal) = @_; my $p = $self->postmaster_pid or return; kill $signal // 'KILL', $p; return $p }

# Every process whose command line or parent says it is of this instance.
sub instance_pids
{
	my ($self) = @_;
	my @pids;
	for my $proc (glob '/proc/[0-9]*')
	{
		my ($pid) = $proc =~ /(\d+)$/;
		my $cwd = readlink("$proc/cwd") // next;
		push @pids, $pid if $cwd eq $self->{data} && $pid != ($self->{launcher_pid} // 0);
	}
	return @pids;
}

sub kill_instance { my ($self) = @_; kill 'KILL', $self->instance_pids }

# Launcher and every postgres process at once, as when a node dies.
sub kill_node
{
	my ($self) = @_;
	my $launcher = delete $self->{launcher_pid};
	kill 'KILL', grep { defined } $launcher, $self->instance_pids;
	$self->{cluster}->reap($launcher) if $launcher;
	# a server does not start beside a zombie of the last one
	PgHa::Cluster::wait_until("the processes of $self->{name} to go", 10, sub {
		kill 'KILL', $self->instance_pids;
		!$self->instance_pids && !$self->postmaster_pid }, 0.01);
}

sub kill_all
{
	for my $m (@all)
	{
		my @pids = $m->instance_pids;
		kill 'CONT', @pids if @pids;
		kill 'KILL', @pids if @pids;
	}
}

sub worker_pid
{
	my ($self) = @_;
	my $pid = $self->try_query("SELECT pg_ha_status()->>'worker_pid'");
	return $pid;
}

sub psql_cmd
{
	my ($self, $dbname) = @_;
	return ("$ENV{PGHA_BINDIR}/psql", '-XAtq', '-v', 'ON_ERROR_STOP=1', '-h', $self->{cluster}->reach($self), '-p', $self->{port},
		'-U', 'postgres', '-d', $dbname // 'postgres');
}

# (exit code, stdout, stderr)
sub psql
{
	my ($self, $sql, $dbname) = @_;
	my ($rc, $out, $err) = PgHa::Cluster::run_ok($self->psql_cmd($dbname), '-c', $sql);
	chomp $out;
	return ($rc, $out, $err);
}

sub query
{
	my ($self, $sql) = @_;
	my ($rc, $out, $err) = $self->psql($sql);
	die "$self->{name}: $sql: $err" if $rc;
	return $out;
}

sub try_query
{
	my ($self, $sql) = @_;
	my ($rc, $out) = $self->psql($sql);
	return $rc ? undef : $out;
}

sub status { my ($self) = @_; return decode_json($self->query('SELECT pg_ha_status()')) }

sub rest
{
	my ($self, $path) = @_;
	return PgHa::Cluster::http('GET', "http://$self->{host}:$self->{rest}$path");
}

sub events
{
	my ($self) = @_;
	return map { eval { decode_json($_) } // () }
		split /\n/, PgHa::Cluster::slurp("$self->{state}/events.old.jsonl") . PgHa::Cluster::slurp("$self->{state}/events.jsonl");
}

# How many lines of the launcher's log match.
sub log_count { my ($self, $re) = @_; return scalar grep { /$re/ } split /\n/, PgHa::Cluster::slurp($self->{log}) }

1;
