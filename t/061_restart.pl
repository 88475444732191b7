# Restarts from SQL: one member, all of them in order, only those that need it,
# scheduled; what stops one; reload.

use strict;
use warnings;
use JSON::PP ();
use PgHa::Cluster qw(wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $c = PgHa::Cluster->new(members => 3, ttl => 3, node_settings => "pg_ha.restapi_username = 'ha'\npg_ha.restapi_password_file = '$ENV{PGHA_WORK}/rest.password'");
PgHa::Cluster::spit("$ENV{PGHA_WORK}/rest.password", "s3cret, with spaces\n");
chmod 0600, "$ENV{PGHA_WORK}/rest.password";
$c->start;
my $leader = $c->leader;
my ($one, $two) = $c->standbys;

sub error { my ($m, $sql) = @_; my ($rc, undef, $err) = $m->psql($sql); return $rc ? $err : 'no error' }
sub started { my ($m) = @_; return wait_until("$m->{name} to answer", 20, sub { $m->try_query('SELECT pg_postmaster_start_time()') }) }
sub edit { my ($m, $parameters) = @_; return $m->query("SELECT count(*) FROM pg_ha_edit_config('{\"postgresql\": {\"parameters\": {$parameters}}}')") }

# refused, and nothing happens
{
	my %before = map { $_->{name} => started($_) } $c->members;
	like(error($one, "SELECT pg_ha_restart('nobody')"), qr/there is no member "nobody"/, 'an unknown member');
	like(error($one, "SELECT pg_ha_restart(role => 'boss')"), qr/unknown role "boss"/, 'an unknown role');
	like(error($one, "SELECT pg_ha_restart(server_version_below => '15.x')"), qr/"15.x" is not a server version/, 'what is no version');
	like(error($one, "SELECT pg_ha_restart(scheduled_at => '2001-01-01')"), qr/must be in the future/, 'a time that has passed');
	like(error($one, "SELECT pg_ha_reload('nobody')"), qr/there is no member "nobody"/, 'reload of an unknown member');
	my ($code, $text) = PgHa::Cluster::http('POST', "http://127.0.0.1:$one->{rest}/restart", '{}');
	is("$code $text", '401 no auth header received', 'REST without credentials');
	my ($rc, $out) = PgHa::Cluster::run_ok('curl', '-s', '-u', 'ha:wrong', '-X', 'POST', "http://127.0.0.1:$one->{rest}/restart");
	is($out, 'not authenticated', 'REST with wrong ones');
	(undef, $out) = PgHa::Cluster::run_ok('curl', '-s', '-u', 'ha:s3cret, with spaces', '-X', 'POST', '-d', '{"foo": 1}', "http://127.0.0.1:$one->{rest}/restart");
	like($out, qr/Unknown filter for the scheduled restart: foo/, 'and what they may not say');
	is(started($_), $before{ $_->{name} }, "$_->{name} was not restarted") for $c->members;
}

# one standby, waited for; its own instance; the leader in place
{
	my %before = map { $_->{name} => started($_) } $c->members;
	is($one->query("SELECT state, message FROM pg_ha_restart('$two->{name}')"), 'done|all members are restarted and healthy', 'another member');
	isnt(started($two), $before{ $two->{name} }, 'was restarted');
	is(started($_), $before{ $_->{name} }, "$_->{name} was not") for $one, $leader;
	my ($rc, $id, $err) = $one->psql("SELECT job FROM pg_ha_restart('$one->{name}')");
	like($err, qr/this session is about to be cut: job "\Q$id\E" goes on/, 'its own: a job');
	is($two->query("SELECT state FROM pg_ha_wait_for_job('$id', '30 s')"), 'done', 'that ends');
	isnt(started($one), $before{ $one->{name} }, 'restarted');
	my $tli = $leader->query('SELECT timeline_id FROM pg_control_checkpoint()');
	is($one->query("SELECT state FROM pg_ha_restart('$leader->{name}')"), 'done', 'the leader, from a standby');
	isnt(started($leader), $before{ $leader->{name} }, 'was restarted');
	is($c->leader->{name}, $leader->{name}, 'and leads');
	is($leader->query('SELECT timeline_id FROM pg_control_checkpoint()'), $tli, 'on its timeline');
	$c->wait_healthy;
}

# a rolling restart under load: standbys first, one at a time, the leader last;
# nothing acknowledged is lost; settings grow and shrink in the right order
for my $max (150, 90)
{
	my $w = $c->start_writer(50);
	edit($one, "\"max_connections\": $max");
	wait_until('the leader to wait for a restart', 10, sub { $one->query("SELECT string_agg(next, ' ') FROM pg_ha_pending_restart WHERE member = '$leader->{name}' AND setting = 'max_connections'") eq $max });
	my $id = $leader->query('SELECT job FROM pg_ha_restart()');
	is(wait_until('the job to end', 90, sub { my $s = $one->try_query("SELECT state FROM pg_ha_jobs WHERE id = '$id'") // ''; $s =~ /done|failed/ ? $s : undef }), 'done', "max_connections $max: all restarted");
	$c->wait_healthy;
	my @order = sort { started($a) cmp started($b) } $c->members;
	is($order[-1]{name}, $leader->{name}, 'the leader last') if $max == 150;
	for my $m ($c->members)
	{
		wait_until("$m->{name} to have it", 20, sub { ($m->try_query("SHOW max_connections") // 0) == $max });
	}
	pass("max_connections is $max everywhere");
	is($leader->query("SELECT pg_ha_wait_for('nothing_pending', '20 s')"), 't', 'nothing waits any more');
	is($c->leader->{name}, $leader->{name}, 'the same leader');
	$c->wait_healthy;
	$c->wait_writing($w);
	$c->stop_writer($w);
	is($c->lost_rows($w), 0, 'no acknowledged row was lost');
}

# conditions
{
	my %before = map { $_->{name} => started($_) } $c->members;
	my $id = $one->query('SELECT job FROM pg_ha_restart(pending_only => true)');
	is($two->query("SELECT state FROM pg_ha_wait_for_job('$id', '30 s')"), 'done', 'pending_only, and nothing pends');
	is($two->query("SELECT string_agg(DISTINCT m->>'state', ' ') FROM pg_ha_jobs, jsonb_array_elements(members) m WHERE id = '$id'"), 'skipped', 'all are skipped');
	$id = $one->query("SELECT job FROM pg_ha_restart(server_version_below => '15.0')");
	is($two->query("SELECT state FROM pg_ha_wait_for_job('$id', '30 s')"), 'done', 'server_version_below');
	is(started($_), $before{ $_->{name} }, "$_->{name} was not restarted") for $c->members;
	is($one->query("SELECT state FROM pg_ha_restart(member => '$two->{name}', role => 'primary')"), 'done', 'role');
	is(started($two), $before{ $two->{name} }, 'a standby is no primary');
}

# scheduled, cancelled
{
	my $before = started($two);
	my $id = $one->query("SELECT job FROM pg_ha_restart('$two->{name}', scheduled_at => now() + interval '1 h')");
	is($leader->query("SELECT state FROM pg_ha_jobs WHERE id = '$id'"), 'scheduled', 'scheduled, and shown');
	is($leader->query("SELECT pg_ha_cancel('$id')"), 't', 'cancelled');
	$id = $one->query("SELECT job FROM pg_ha_restart('$two->{name}', scheduled_at => now() + interval '2 s')");
	is($one->query("SELECT state FROM pg_ha_wait_for_job('$id', '30 s')"), 'done', 'at its time');
	isnt(started($two), $before, 'restarted');
	$c->wait_healthy;
}

# a member whose launcher is gone: said at once, and the others are left alone
{
	my ($first) = sort { $a->{name} cmp $b->{name} } $one, $two;
	my %before = map { $_->{name} => started($_) } $c->members;
	$first->kill_launcher;
	like(error($leader, "SELECT pg_ha_restart('$first->{name}', timeout => '10 s')"), qr/restart failed: $first->{name}: its launcher did not restart it: .*connect/i, 'named, with the reason');
	is(started($_), $before{ $_->{name} }, "$_->{name} was not restarted") for $c->members;
	$first->start(keep_files => 1);
	$c->wait_healthy;
}

# reload: node settings
{
	PgHa::Cluster::spit($two->{conf}, PgHa::Cluster::slurp($two->{conf}) . "work_mem = '7MB'\n");
	is($one->query("SELECT pg_ha_reload('$two->{name}')"), 't', 'reload of another member');
	wait_until('the setting', 5, sub { $two->query('SHOW work_mem') eq '7MB' });
	pass('its node settings are read anew');
}

done_testing;
