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
my ($a, $b) = $c->standbys;

sub error { my ($m, $sql) = @_; my ($rc, undef, $err) = $m->psql($sql); return $rc ? $err : 'no error' }
sub started { my ($m) = @_; return wait_until("$m->{name} to answer", 20, sub { $m->try_query('SELECT pg_postmaster_start_time()') }) }
sub edit { my ($m, $parameters) = @_; return $m->query("SELECT count(*) FROM pg_ha_edit_config('{\"postgresql\": {\"parameters\": {$parameters}}}')") }

# refused, and nothing happens
{
	my %before = map { $_->{name} => started($_) } $c->members;
	like(error($a, "SELECT pg_ha_restart('nobody')"), qr/there is no member "nobody"/, 'an unknown member');
	like(error($a, "SELECT pg_ha_restart(role => 'boss')"), qr/unknown role "boss"/, 'an unknown role');
	like(error($a, "SELECT pg_ha_restart(server_version_below => '15.x')"), qr/"15.x" is not a server version/, 'what is no version');
	like(error($a, "SELECT pg_ha_restart(scheduled_at => '2001-01-01')"), qr/must be in the future/, 'a time that has passed');
	like(error($a, "SELECT pg_ha_reload('nobody')"), qr/there is no member "nobody"/, 'reload of an unknown member');
	my ($code, $text) = PgHa::Cluster::http('POST', "http://127.0.0.1:$a->{rest}/restart", '{}');
	is("$code $text", '401 no auth header received', 'REST without credentials');
	my ($rc, $out) = PgHa::Cluster::run_ok('curl', '-s', '-u', 'ha:wrong', '-X', 'POST', "http://127.0.0.1:$a->{rest}/restart");
	is($out, 'not authenticated', 'REST with wrong ones');
	(undef, $out) = PgHa::Cluster::run_ok('curl', '-s', '-u', 'ha:s3cret, with spaces', '-X', 'POST', '-d', '{"foo": 1}', "http://127.0.0.1:$a->{rest}/restart");
	like($out, qr/Unknown filter for the scheduled restart: foo/, 'and what they may not say');
	is(started($_), $before{ $_->{name} }, "$_->{name} was not restarted") for $c->members;
}

# one standby, waited for; its own instance; the leader in place
{
	my %before = map { $_->{name} => started($_) } $c->members;
	is($a->query("SELECT state, message FROM pg_ha_restart('$b->{name}')"), 'done|all members are restarted and healthy', 'another member');
	isnt(started($b), $before{ $b->{name} }, 'was restarted');
	is(started($_), $before{ $_->{name} }, "$_->{name} was not") for $a, $leader;
	my ($rc, $id, $err) = $a->psql("SELECT job FROM pg_ha_restart('$a->{name}')");
	like($err, qr/this session is about to be cut: job "\Q$id\E" goes on/, 'its own: a job');
	is($b->query("SELECT state FROM pg_ha_wait_for_job('$id', '30 s')"), 'done', 'that ends');
	isnt(started($a), $before{ $a->{name} }, 'restarted');
	my $tli = $leader->query('SELECT timeline_id FROM pg_control_checkpoint()');
	is($a->query("SELECT state FROM pg_ha_restart('$leader->{name}')"), 'done', 'the leader, from a standby');
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
	edit($a, "\"max_connections\": $max");
	wait_until('all to wait for a restart', 10, sub { $a->query('SELECT count(DISTINCT member) FROM pg_ha_pending_restart') == 3 });
	my $id = $leader->query('SELECT job FROM pg_ha_restart()');
	is(wait_until('the job to end', 90, sub { my $s = $a->try_query("SELECT state FROM pg_ha_jobs WHERE id = '$id'") // ''; $s =~ /done|failed/ ? $s : undef }), 'done', "max_connections $max: all restarted");
	started($_) for $c->members;
	my @order = sort { started($a) cmp started($b) } $c->members;
	is($order[-1]{name}, $leader->{name}, 'the leader last') if $max == 150;
	wait_until("$_->{name} to have it", 20, sub { ($_[0] // $_)->try_query('SHOW max_connections') == $max }) for $c->members;
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
	my $id = $a->query('SELECT job FROM pg_ha_restart(pending_only => true)');
	is($b->query("SELECT state FROM pg_ha_wait_for_job('$id', '30 s')"), 'done', 'pending_only, and nothing pends');
	is($b->query("SELECT string_agg(DISTINCT m->>'state', ' ') FROM pg_ha_jobs, jsonb_array_elements(members) m WHERE id = '$id'"), 'skipped', 'all are skipped');
	$id = $a->query("SELECT job FROM pg_ha_restart(server_version_below => '15.0')");
	is($b->query("SELECT state FROM pg_ha_wait_for_job('$id', '30 s')"), 'done', 'server_version_below');
	is(started($_), $before{ $_->{name} }, "$_->{name} was not restarted") for $c->members;
	is($a->query("SELECT state FROM pg_ha_restart(member => '$b->{name}', role => 'primary')"), 'done', 'role');
	is(started($b), $before{ $b->{name} }, 'a standby is no primary');
}

# scheduled, cancelled
{
	my $before = started($b);
	my $id = $a->query("SELECT job FROM pg_ha_restart('$b->{name}', scheduled_at => now() + interval '1 h')");
	is($leader->query("SELECT state FROM pg_ha_jobs WHERE id = '$id'"), 'scheduled', 'scheduled, and shown');
	is($leader->query("SELECT pg_ha_cancel('$id')"), 't', 'cancelled');
	$id = $a->query("SELECT job FROM pg_ha_restart('$b->{name}', scheduled_at => now() + interval '2 s')");
	is($a->query("SELECT state FROM pg_ha_wait_for_job('$id', '30 s')"), 'done', 'at its time');
	isnt(started($b), $before, 'restarted');
	$c->wait_healthy;
}

# a member whose launcher is gone: said at once, and the others are left alone
{
	my ($first) = sort { $a->{name} cmp $b->{name} } $a, $b;
	my %before = map { $_->{name} => started($_) } $c->members;
	$first->kill_launcher;
	like(error($leader, "SELECT pg_ha_restart('$first->{name}', timeout => '10 s')"), qr/restart failed: $first->{name}: its launcher did not restart it: .*connect/i, 'named, with the reason');
	is(started($_), $before{ $_->{name} }, "$_->{name} was not restarted") for $c->members;
	$first->start(keep_files => 1);
	$c->wait_healthy;
}

# reload: node settings
{
	PgHa::Cluster::spit($b->{conf}, PgHa::Cluster::slurp($b->{conf}) . "work_mem = '7MB'\n");
	is($a->query("SELECT pg_ha_reload('$b->{name}')"), 't', 'reload of another member');
	wait_until('the setting', 5, sub { $b->query('SHOW work_mem') eq '7MB' });
	pass('its node settings are read anew');
}

done_testing;
