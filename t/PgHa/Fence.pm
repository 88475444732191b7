package PgHa::Fence;

# A single server whose fence the test moves itself, without Consul, by the
# functions of t/tools/fence_probe.c; `lease(MS)` grants what a heartbeat would.

use strict;
use warnings;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $tools;

# Build a shared object of t/tools; its path.  Skips all without a compiler.
sub build
{
	my ($name, @flags) = @_;
	my $cc = $ENV{CC} // 'cc';
	my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
	plan skip_all => "no $cc or no $pg_config" if grep { system("command -v $_ >/dev/null") } $cc, $pg_config;
	chomp(my $include = `$pg_config --includedir-server`);
	$tools //= PostgreSQL::Test::Utils::tempdir();
	system($cc, '-shared', '-fPIC', '-O1', '-D_GNU_SOURCE', "-I$include", '-Isrc', '-o', "$tools/$name.so", "t/tools/$name.c", @flags) == 0
		or die "could not build $name";
	return "$tools/$name.so";
}

# A server that is not started; `conf` is added to its configuration.  The
# objects come from single-user mode, which is not fenced.
sub new
{
	my ($class, $name, %o) = @_;
	my $probe = build('fence_probe');
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%{ $o{init} // {} });
	$node->append_conf('postgresql.conf', <<"CONF");
max_prepared_transactions = 10
autovacuum = off
pg_ha.managed = on
shared_preload_libraries = '$probe, pg_ha'
CONF
	$node->append_conf('postgresql.conf', $o{conf}) if $o{conf};
	my $objects = join '', map { "$_;\n" } 'CREATE EXTENSION pg_ha', @{ $o{objects} // [] },
		map { "CREATE FUNCTION $_ LANGUAGE C STRICT AS '$probe'" }
		'probe_extend(int) RETURNS void', 'probe_shorten(int) RETURNS void', 'probe_without_end(bool) RETURNS void',
		'probe_stop(text) RETURNS void', 'probe_committing() RETURNS int', 'probe_block_timer() RETURNS void',
		'probe_leader(text) RETURNS void';
	my ($out, $err);
	IPC::Run::run([ 'postgres', '--single', '-D', $node->data_dir, 'postgres' ], '<', \$objects, '>', \$out, '2>', \$err);
	unlike($err, qr/ERROR|FATAL/, 'the objects are there') or BAIL_OUT($err);
	return bless { node => $node }, $class;
}

sub node { $_[0]{node} }
sub value { $_[0]{node}->safe_psql('postgres', $_[1]) }
sub fence { $_[0]->value("SELECT pg_ha_status()->'fence'->>'$_[1]'") }

# The lease is valid for so many ms from now, unless it was for longer.
sub lease { $_[0]->value("SELECT probe_extend($_[1])") }

sub wait_for
{
	my ($self, $what, $condition, $seconds) = @_;
	my $end = time + ($seconds // 60);
	until ($condition->())
	{
		die "$what did not come" if time > $end;
		sleep 0.02;
	}
}

sub run_out { my $self = shift; $self->wait_for('the end of the lease', sub { $self->fence('state') eq 'closed' }) }

# Settings take effect by a reload.
sub set
{
	my ($self, %settings) = @_;
	$self->node->append_conf('postgresql.conf', "$_ = '$settings{$_}'") for sort keys %settings;
	$self->node->reload;
	for my $name (sort keys %settings)
	{
		$self->wait_for($name, sub { $self->value("SELECT reset_val = '$settings{$name}' FROM pg_settings WHERE name = '$name'") eq 't' });
	}
}

sub stopped
{
	my ($self, $pid) = @_;
	open(my $fh, '<', "/proc/$pid/stat") or return;
	return <$fh> =~ /^\d+ \(.*\) T/;
}

sub freeze
{
	my ($self, $pid) = @_;
	kill 'STOP', $pid;
	$self->wait_for("$pid to stop", sub { $self->stopped($pid) });
}

1;
