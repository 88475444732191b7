# The journey of somebody who brings a PostgreSQL 15: adopted, two empty nodes
# join, the configuration of a Patroni user, twelve settings of a tuning tool,
# restarts, a switchover, a reinit, a reload; and three rows that are there at
# every step.  Then a setting that no server can start with, written by another
# tool: no outage.

use strict;
use warnings;
use JSON::PP ();
use PgHa::Cluster qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $c = PgHa::Cluster->new(members => 3, ttl => 10, node_settings => '');
my ($first, @others) = $c->members;
my $bin = $ENV{PGHA_BINDIR};

# all three rows, on every member that runs
sub rows_are_there
{
	my ($when) = @_;
	for my $m (grep { $_->{launcher_pid} } $c->members)
	{
		is((wait_until("$m->{name} to answer $when", 30, sub { my ($rc, $o) = $m->psql("SELECT string_agg(name, ' ' ORDER BY id) FROM course", 'otus'); $rc ? undef : $o })),
			'ada grace edsger', "$when: three rows on $m->{name}");
	}
}

# a stand-alone server
is((PgHa::Cluster::run_ok("$bin/initdb", '-D', $first->{data}, '-U', 'postgres', '-A', 'trust'))[0], 0, 'initdb');
my @ctl = ("$bin/pg_ctl", '-D', $first->{data}, '-w', '-l', "$first->{dir}/alone.log", '-o', "-p $first->{port} -k $first->{run}");
PgHa::Cluster::run_ok(@ctl, 'start');
$first->query('CREATE DATABASE otus');
is(($first->psql("CREATE TABLE course (id int PRIMARY KEY, name text); INSERT INTO course VALUES (1, 'ada'), (2, 'grace'), (3, 'edsger')", 'otus'))[0], 0, 'a database with three rows');
PgHa::Cluster::run_ok(@ctl, '-m', 'fast', 'stop');

# adopted; two empty nodes join
$c->start_consul;
$first->start;
wait_until('the adopted instance to serve', 60, sub { ($first->try_query("SELECT pg_ha_status()->'fence'->>'state'") // '') eq 'open' });
rows_are_there('adopted');
$_->start for @others;
$c->wait_healthy(120);
rows_are_there('joined');
wait_until('both to be seen streaming', 10, sub { $others[0]->query("SELECT count(*) FROM pg_ha_members WHERE state = 'streaming'") == 2 });
is($others[0]->query("SELECT string_agg(name || ' ' || role || ' ' || state, ', ' ORDER BY name) FROM pg_ha_members"),
	'n1 leader running, n2 replica streaming, n3 replica streaming', 'members listed, on a standby');

# the configuration of a Patroni user
my $patroni = <<'JSON';
{"ttl": 30, "loop_wait": 10, "retry_timeout": 9, "maximum_lag_on_failover": 1048576,
 "postgresql": {"use_pg_rewind": true, "use_slots": true,
  "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 trust", "host replication replicator 127.0.0.1/32 scram-sha-256"],
  "parameters": {"archive_mode": "on", "archive_timeout": "1800s", "archive_command": "/bin/true", "hot_standby": "on", "max_connections": 100,
   "max_replication_slots": 5, "max_wal_senders": 10, "wal_keep_segments": 8,
   "wal_level": "hot_standby", "wal_log_hints": "on"}}}
JSON
{
	my ($rc, $out, $err) = $others[0]->psql("SELECT count(*) FROM pg_ha_set_config('$patroni')");
	is($rc, 0, 'a Patroni configuration is put in place') or diag $err;
	like($err, qr/wal_keep_segments: read as wal_keep_size = 128MB/, 'with a notice of what is translated');
	for my $m ($c->members)
	{
		wait_until("wal_keep_size on $m->{name}", 15, sub { $m->query('SHOW wal_keep_size') eq '128MB' });
	}
	pass('translated on all');
	is($first->query('SELECT pg_ha_show_config()->>\'ttl\''), 30, 'shown as entered');
	rows_are_there('configured');
}

# twelve settings of a tuning tool, in one call
my %tuned = (max_connections => 60, shared_buffers => '24MB', effective_cache_size => '3GB', maintenance_work_mem => '256MB',
	checkpoint_completion_target => 0.9, wal_buffers => '16MB', default_statistics_target => 100, random_page_cost => 1.1,
	effective_io_concurrency => 200, work_mem => '2621kB', min_wal_size => '1GB', max_wal_size => '4GB');
{
	my $patch = JSON::PP->new->canonical->encode({ postgresql => { parameters => \%tuned } });
	is($others[1]->query("SELECT count(*) FROM pg_ha_edit_config('$patch')"), 12, 'twelve settings edited in one call');
	my $shown = JSON::PP::decode_json($first->query("SELECT pg_ha_show_config()->'postgresql'->'parameters'"));
	is($shown->{$_}, $tuned{$_}, "$_ shown as entered") for sort keys %tuned;
	for my $m ($c->members)
	{
		wait_until("work_mem on $m->{name}", 15, sub { $m->query('SHOW work_mem') eq '2621kB' });
	}
	pass('what needs no restart is in force within a moment');
	wait_until('what needs a restart to be listed', 15, sub {
		$first->query("SELECT string_agg(setting, ' ' ORDER BY setting) FROM pg_ha_pending_restart WHERE member = 'n1'") =~ /\bmax_connections\b.*\bshared_buffers\b.*\bwal_buffers\b/ });
	pass('what does is listed');
	rows_are_there('tuned');
}

# one member, then all
{
	my $standby = $others[0];
	is($first->query("SELECT state FROM pg_ha_restart('$standby->{name}')"), 'done', 'one member is restarted');
	$c->wait_healthy(60);
	rows_are_there('one restarted');
	my $job = $first->query('SELECT job FROM pg_ha_restart(pending_only => true)');
	wait_until('all to be restarted', 120, sub { ($standby->try_query("SELECT state FROM pg_ha_jobs WHERE id = '$job'") // '') =~ /^(done|failed)$/ });
	$c->wait_healthy(60);
	is($standby->query("SELECT state || ' ' || message FROM pg_ha_jobs WHERE id = '$job'"), 'done all members are restarted and healthy', 'then all that need it');
	is($standby->query("SELECT pg_ha_wait_for('nothing_pending', '30 s')"), 't', 'nothing pends');
	is($_->query('SHOW shared_buffers') . ' ' . $_->query('SHOW max_connections'), '24MB 60', "$_->{name} runs with what was asked for") for $c->members;
	rows_are_there('all restarted');
}

# switchover, reinit, reload
{
	is($others[0]->query("SELECT new_leader FROM pg_ha_switchover('n2')"), 'n2', 'switchover');
	$c->wait_healthy(60);
	rows_are_there('switched over');
	is($others[0]->query("SELECT pg_ha_reinit('n3')"), 't', 'reinit');
	wait_until('the copy to begin', 20, sub { ($c->kv('members/n3') // '') !~ /"state":"running"/ }, 0.02);
	$c->wait_healthy(90);
	rows_are_there('reinitialized');
	is($others[0]->query("SELECT pg_ha_reload('n1')"), 't', 'reload');
	rows_are_there('reloaded');
}

# a value that no server here can start with, written by another tool
{
	my $leader = $c->leader;
	my ($standby) = $c->standbys;
	my $config = JSON::PP::decode_json($c->kv('config'));
	my $w = $c->start_writer(50);
	my $term = $c->lease->{term};
	$config->{postgresql}{parameters}{shared_buffers} = '7000GB';
	$c->kv_put('config', JSON::PP::encode_json($config));
	wait_until('it to be listed as pending', 15, sub { $leader->query("SELECT count(*) FROM pg_ha_pending_restart WHERE setting = 'shared_buffers'") >= 1 });
	my $job = $leader->query('SELECT job FROM pg_ha_restart()');
	my $end = wait_until('the job to end', 120, sub { my $e = $leader->try_query("SELECT state || ': ' || message FROM pg_ha_jobs WHERE id = '$job'") // ''; $e =~ /^(done|failed)/ ? $e : undef });
	like($end, qr/^failed: n\d: it did not start with its new configuration and runs with the last one that worked/, 'shared_buffers of 7000GB: the restart stops at the first standby, and says why');
	$c->wait_healthy(60);
	is($c->lease->{term}, $term, 'the leader is the same');
	my @fell = map { $_->{name} } grep { grep { $_->{action} eq 'fell back' } $_->events } $c->members;
	is(scalar(@fell), 1, "only @fell fell back");
	is($_->query('SHOW shared_buffers'), '24MB', "$_->{name} runs as before") for $c->members;
	my $seen = $c->stop_writer($w);
	is($seen->{failed}, 0, "no write failed in $seen->{acknowledged}: no outage");

	# what is out of every range is left out, with an event, and harms nobody
	$config->{postgresql}{parameters}{shared_buffers} = '999TB';
	$c->kv_put('config', JSON::PP::encode_json($config));
	wait_until('999TB to be left out', 15, sub { grep { $_->{action} eq 'setting left out' && $_->{what} =~ /shared_buffers/ } $standby->events });
	pass('999TB is left out, with an event');
	$config->{postgresql}{parameters}{shared_buffers} = '24MB';
	$c->kv_put('config', JSON::PP::encode_json($config));
	is($leader->query("SELECT pg_ha_wait_for('nothing_pending', '30 s')"), 't', 'corrected: nothing pends');
	rows_are_there('at the end');
}

done_testing;
