# Three empty nodes become a cluster, and say so in SQL, REST and Consul.

use strict;
use warnings;
use JSON::PP;
use PgHa::Cluster qw(wait_until);
use Test::More;

my $c = PgHa::Cluster->new(members => 3, ttl => 3);
$c->start;
my $leader = $c->leader;
my ($standby, $other) = $c->standbys;

is($leader->query("SHOW data_checksums"), 'on', 'checksums are on');
is($leader->query("SELECT pg_encoding_to_char(encoding) || ' ' || datcollate FROM pg_database WHERE datname = 'postgres'"),
	'UTF8 C.UTF-8', 'UTF8 and C.UTF-8');
is($leader->query("SELECT extversion FROM pg_extension WHERE extname = 'pg_ha'"), '1.0', 'the extension is there');
is($leader->query("SELECT rolreplication AND NOT rolsuper FROM pg_roles WHERE rolname = 'replicator'"), 't', 'so is the replication role');
is($c->kv('initialize'), $leader->query('SELECT system_identifier FROM pg_control_system()'), 'initialize holds the system identifier');
is($c->kv('leader'), $leader->{name}, 'the leader key holds the leader');

# SQL, on the primary and on standbys
for my $m ($leader, $standby, $other)
{
	wait_until("$m->{name} to know all", 10, sub {
		$m->query("SELECT count(*) FROM pg_ha_members WHERE state = 'streaming'") == 2 });
	is($m->query("SELECT string_agg(name, ',' ORDER BY name) FROM pg_ha_members"), 'n1,n2,n3', "$m->{name}: members");
	is($m->query("SELECT name FROM pg_ha_members WHERE role = 'leader'"), $leader->{name}, "$m->{name}: who leads");
	is($m->query("SELECT count(*) FROM pg_ha_members WHERE port > 0 AND host = '127.0.0.1' AND api_url LIKE 'http://%' AND seen_at > now() - interval '10 s'"),
		3, "$m->{name}: addresses");
	my $s = $m->status;
	is($s->{leader}, $leader->{name}, "$m->{name}: status names the leader");
	is($s->{role}, $m == $leader ? 'primary' : 'standby', "$m->{name}: status names its role");
	is($s->{fence}{state}, $m == $leader ? 'open' : 'closed', "$m->{name}: the fence");
	ok($s->{launcher}, "$m->{name}: its launcher is there");
	cmp_ok($m->query('SELECT count(*) FROM pg_ha_rules'), '>', 30, "$m->{name}: rules");
	cmp_ok($m->query('SELECT count(*) FROM pg_ha_events'), '>', 1, "$m->{name}: events");
}
is($leader->query("SELECT string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_replication_slots WHERE active"),
	join(',', sort map { $_->{name} } $standby, $other), 'each standby streams through its slot');
like(PgHa::Cluster::slurp('/proc/' . $leader->worker_pid . '/cmdline'), qr/pg_ha worker primary, leader $leader->{name}/,
	'the process title shows role and leader');

# REST
for (['/', 200, 503], ['/primary', 200, 503], ['/read-write', 200, 503], ['/replica', 503, 200],
	['/health', 200, 200], ['/liveness', 200, 200], ['/readiness', 200, 200], ['/patroni', 200, 200], ['/nonsense', 503, 503])
{
	my ($path, $on_leader, $on_standby) = @$_;
	is(($leader->rest($path))[0], $on_leader, "REST: $path on the leader");
	is(($standby->rest($path))[0], $on_standby, "REST: $path on a standby");
}
my (undef, $text) = $leader->rest('/patroni');
my $doc = decode_json($text);
is($doc->{role}, 'primary', 'REST: role');
is($doc->{state}, 'running', 'REST: state');
is($doc->{patroni}{scope}, 'main', 'REST: scope');
is($doc->{database_system_identifier}, $c->kv('initialize'), 'REST: system identifier');

# the launcher's commands
my ($rc, $out) = PgHa::Cluster::run_ok("$ENV{PGHA_BINDIR}/pg_ha_launcher", '--config', $standby->{conf}, '--status');
is($rc, 0, '--status: healthy');
like($out, qr/\Q$leader->{name}\E +leader +running/, '--status shows the leader');
($rc, $out) = PgHa::Cluster::run_ok("$ENV{PGHA_BINDIR}/pg_ha_launcher", '--config', $standby->{conf}, '--show-config');
is(decode_json($out)->{ttl}, 3, '--show-config');
PgHa::Cluster::spit("$c->{dir}/patch.json", '{"postgresql": {"parameters": {"work_mem": "7MB", "max_connections": 120}}}');
($rc) = PgHa::Cluster::run_ok("$ENV{PGHA_BINDIR}/pg_ha_launcher", '--config', $standby->{conf}, '--edit-config', "$c->{dir}/patch.json");
is($rc, 0, '--edit-config');
for my $m ($c->members)
{
	wait_until('the setting to arrive', 10, sub { $m->query('SHOW work_mem') eq '7MB' });
	pass("$m->{name} has the changed setting");
	wait_until('the pending restart to show', 10, sub {
		$m->query("SELECT pending_restart_settings FROM pg_ha_members WHERE name = '$m->{name}'") eq '{max_connections}' });
	pass("$m->{name} shows what waits for a restart");
}
($rc, undef, my $err) = $leader->psql("ALTER SYSTEM SET max_connections = 500");
isnt($rc, 0, 'ALTER SYSTEM on an owned setting is refused');
like($err, qr/is set by pg_ha.*HINT/s, 'with a hint');

# at rest nothing is logged
my $lines = -s $leader->{log};
sleep 5;
is(-s $leader->{log}, $lines, 'at rest the log is silent');

# everything down, --status says so
$c->stop;
($rc) = PgHa::Cluster::run_ok("$ENV{PGHA_BINDIR}/pg_ha_launcher", '--config', $standby->{conf}, '--status');
is($rc, 2, '--status: no leader');
done_testing;
