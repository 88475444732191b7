# A running stand-alone PostgreSQL with data is adopted without losing a row;
# two empty nodes clone it.

use strict;
use warnings;
use PgHa::Cluster qw(wait_until spit);
use Test::More;

my $c = PgHa::Cluster->new(members => 3, ttl => 3, config => {});
my ($first, @others) = $c->members;
my $bin = $ENV{PGHA_BINDIR};
is((PgHa::Cluster::run_ok("$bin/initdb", '-D', $first->{data}, '-U', 'postgres', '-A', 'trust', '-k'))[0], 0, 'initdb');
open(my $fh, '>>', "$first->{data}/postgresql.conf");
print $fh "max_connections = 500\nwork_mem = '9MB'\nshared_preload_libraries = 'auto_explain'\n";
close $fh;
my @ctl = ("$bin/pg_ctl", '-D', $first->{data}, '-w', '-l', "$first->{dir}/alone.log", '-o', "-p $first->{port} -k $first->{run}");
PgHa::Cluster::run_ok(@ctl, 'start');
$first->query('CREATE DATABASE otus');
$first->psql('CREATE TABLE t AS SELECT i FROM generate_series(1, 100000) i', 'otus');
my $sysid = $first->query('SELECT system_identifier FROM pg_control_system()');

# --check says beforehand what is in the way
$c->start_consul;
$_->write_conf for $c->members;
my ($rc, $out, $err) = PgHa::Cluster::run_ok("$bin/pg_ha_launcher", '--config', $first->{conf}, '--check');
like($out, qr/pg_ha.scope = 'main'/, '--check prints what is in force');
PgHa::Cluster::run_ok(@ctl, '-m', 'fast', 'stop');

($rc, $out, $err) = PgHa::Cluster::run_ok("$bin/pg_ha_launcher", '--config', $first->{conf}, '--check');
is($rc, 0, '--check finds nothing in the way') or diag $err;
like($out, qr/will be adopted/, '--check says what adoption will do');

$first->start;
wait_until('the adopted instance to serve', 40, sub {
	($first->try_query("SELECT pg_ha_status()->'fence'->>'state'") // '') eq 'open' });
is($first->query('SELECT system_identifier FROM pg_control_system()'), $sysid, 'it is the same instance');
is(($first->psql('SELECT count(*) FROM t', 'otus'))[1], 100000, 'not a row is lost');
is($first->query('SHOW max_connections'), 500, 'its own settings stay');
is($first->query('SHOW work_mem'), '9MB', 'all of them');
like($first->query('SHOW shared_preload_libraries'), qr/^auto_explain, *pg_ha$/, 'its libraries are merged');
wait_until('the roles', 10, sub { $first->query("SELECT count(*) FROM pg_roles WHERE rolname IN ('replicator', 'rewinder')") == 2 });

$_->start for @others;
ok($c->wait_healthy(90), 'two empty nodes were cloned');
for my $m (@others)
{
	is(($m->psql('SELECT count(*) FROM t', 'otus'))[1], 100000, "$m->{name} has every row");
	is($m->query('SHOW max_connections'), 500, "$m->{name} has at least the primary's connections");
}

# it fails over like any other
$first->kill_node;
my $new = wait_until('another leader', 30, sub { my $l = $c->leader; $l && $l != $first ? $l : 0 });
is(($new->psql('SELECT count(*) FROM t', 'otus'))[1], 100000, 'after a failover every row is there');
$first->start;
ok($c->wait_healthy(60), 'the adopted node streams again');

# and can be taken out again
$c->stop;
($rc, $out) = PgHa::Cluster::run_ok("$bin/pg_ha_launcher", '--config', $new->{conf}, '--detach');
is($rc, 0, '--detach');
unlike(PgHa::Cluster::slurp("$new->{data}/postgresql.conf"), qr/pg_ha/, 'leaves no line of pg_ha');
done_testing;
