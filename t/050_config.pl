# The configuration of the whole cluster, shown and changed from SQL on any
# member; pause and resume.  What is refused changes nothing.

use strict;
use warnings;
use IPC::Run ();
use JSON::PP ();
use PgHa::Cluster qw(wait_until);
use Test::More;

my $c = PgHa::Cluster->new(members => 2, ttl => 3);
$c->start;
my $leader = $c->leader;
my ($standby) = $c->standbys;

sub config { return $_[0]->query('SELECT pg_ha_show_config()') }
sub edit
{
	my ($member, $patch, $more) = @_;
	return $member->query("SELECT path, old, new, needs_restart FROM pg_ha_edit_config('$patch'" . ($more // '') . ') ORDER BY path');
}
sub param { return '{"postgresql": {"parameters": {' . $_[0] . '}}}' }

# shown and changed on a standby, in force everywhere
{
	my $before = config($standby);
	is(edit($standby, param('"work_mem": "2621kB", "max_connections": 111'), ', true'),
		"postgresql.parameters.max_connections||111|t\npostgresql.parameters.work_mem||\"2621kB\"|f",
		'a dry run says what would change and what needs a restart');
	is(config($standby), $before, 'and changes nothing');
	is(edit($standby, param('"work_mem": "2621kB"')), 'postgresql.parameters.work_mem||"2621kB"|f', 'an edit on a standby');
	like(config($standby), qr/"work_mem": "2621kB"/, 'shown as entered');
	for my $m ($leader, $standby)
	{
		wait_until("work_mem on $m->{name}", 5, sub { $m->query('SHOW work_mem') eq '2621kB' });
	}
	pass('in force on both');
	is(edit($leader, param('"work_mem": "2621kB"')), '', 'what is so already changes nothing');
	is(edit($leader, param('"work_mem": null')), 'postgresql.parameters.work_mem|"2621kB"||f', 'null deletes');
	wait_until('work_mem of old', 5, sub { $standby->query('SHOW work_mem') eq '4MB' });
}

# what needs a restart is listed for all members, wherever one looks
{
	my $pending = 'SELECT member, setting, running, next FROM pg_ha_pending_restart ORDER BY member, setting';
	edit($leader, param('"max_connections": 111, "shared_buffers": "17MB"'));
	my $expected = join "\n", map { ("$_|max_connections|100|111", "$_|shared_buffers|128MB|17MB") } sort map { $_->{name} } $c->members;
	for my $m ($leader, $standby)
	{
		wait_until("what is pending as $m->{name} sees it", 10, sub { $m->query($pending) eq $expected });
		pass("listed on $m->{name}");
	}
	is($leader->query("SELECT pending_restart_settings FROM pg_ha_members WHERE name = '$standby->{name}'"), '{max_connections,shared_buffers}', 'their names in pg_ha_members');
	my (undef, undef, $err) = $standby->psql("SELECT pg_ha_wait_for('nothing_pending', '1 s')");
	like($err, qr/condition "nothing_pending" was not met in time.*settings wait for a restart: n/s, 'waiting for it says what is missing');
	edit($standby, param('"max_connections": null'));
	wait_until('one to be left', 10, sub { $leader->query("SELECT DISTINCT setting FROM pg_ha_pending_restart") eq 'shared_buffers' });
	edit($leader, param('"shared_buffers": null'));
	is($_->query("SELECT pg_ha_wait_for('nothing_pending', '10 s')"), 't', "nothing is pending on $_->{name}") for $leader, $standby;
	is($leader->query($pending), '', 'nor listed');
	pass('what is taken back is pending no more');
}

# a server that is stopped by hand is started again, with the new values
{
	my $term = $c->lease->{term};
	edit($leader, param('"max_connections": 111'));
	wait_until('both to wait for a restart', 10, sub { $leader->query('SELECT count(*) FROM pg_ha_pending_restart') eq '2' });
	for my $m ($standby, $leader)
	{
		$m->kill_postmaster('INT');
		wait_until("$m->{name} to run with the new value", 30, sub { ($m->try_query('SHOW max_connections') // '') eq '111' });
	}
	is($leader->query("SELECT pg_ha_wait_for('healthy') AND pg_ha_wait_for('nothing_pending')"), 't', 'restarted, and nothing is pending');
	is($c->lease->{term}, $term, 'in place: nobody took over');
}

# refused, with the reason, and nothing changes
{
	my $before = config($leader);
	for my $case (
		[ param('"wrok_mem": "1MB"'), qr/unrecognized configuration parameter "wrok_mem"/, 'an unknown parameter' ],
		[ param('"work_mem": "1 elephant"'), qr/invalid value for parameter "work_mem": "1 elephant"/, 'an unknown unit' ],
		[ param('"max_connections": 0'), qr/0 is outside the valid range for parameter "max_connections"/, 'a value out of range' ],
		[ param('"wal_level": "high"'), qr/invalid value for parameter "wal_level"/, 'an unknown word' ],
		[ param('"primary_conninfo": "host=a"'), qr/"primary_conninfo" can't be set for the cluster/, 'an owned setting' ],
		[ param('"hot_standby": "off"'), qr/"hot_standby" can't be set for the cluster/, 'an owned setting, differently' ],
		[ param('"work_mem": [1]'), qr/must be a single value/, 'a list' ],
		[ '{"ttl": 3, "loop_wait": 3}', qr/loop_wait/, 'the rule of ttl' ],
		[ '{"ttl": "soon"}', qr/ttl/, 'no number' ],
		[ '[1]', qr/must be a JSON object/, 'not an object' ],
		[ '{}', qr/larger than \d+ bytes/, 'too long', q(|| jsonb_build_object('note', repeat('x', 300000))) ])
	{
		my ($patch, $message, $name, $more) = @$case;
		$more //= '';
		my (undef, undef, $err) = $leader->psql("SELECT * FROM pg_ha_edit_config('$patch'::jsonb $more)");
		like($err, $message, "$name is refused");
	}
	is(config($leader), $before, 'nothing has changed');
	is($leader->query("SELECT count(*) FROM pg_ha_edit_config('" . param('"wal_log_hints": "on"') . "')"), 1, 'what is always on may be said');
}

# a whole document
{
	my $now = config($leader);
	is($leader->query("SELECT count(*) FROM pg_ha_set_config('$now')"), 0, 'the same document changes nothing');
	my $other = JSON::PP::decode_json($now);
	$other->{postgresql}{parameters}{work_mem} = '5MB';
	delete $other->{postgresql}{parameters}{wal_log_hints};
	is($standby->query("SELECT count(*) FROM pg_ha_set_config('" . JSON::PP::encode_json($other) . "')"), 2, 'another is set');
}

# both at once: neither is lost
{
	my @clients = map {
		my $out = '';
		[ IPC::Run::start([ $_->[0]->psql_cmd, '-c', "SELECT count(*) FROM generate_series(1, 10) i, LATERAL pg_ha_edit_config(format('{\"tag_$_->[1]\": {\"n%s\": 1}}', i)::jsonb)" ], '<', \undef, '>', \$out, '2>&1'), \$out ];
	} [ $leader, 'a' ], [ $standby, 'b' ];
	$_->[0]->finish for @clients;
	my $config = JSON::PP::decode_json($c->kv('config'));
	is(scalar(keys %{ $config->{"tag_$_"} // {} }), 10, "all edits of $_ are there") for 'a', 'b';
}

# pause and resume from a standby
{
	is($standby->query('SELECT pg_ha_pause()'), 't', 'paused, and the leader says so');
	ok($leader->status->{fence}{open_without_end}, 'the fence is open without end');
	is($leader->query('SELECT pg_ha_pause()'), 't', 'twice is no error');
	is($standby->query('SELECT pg_ha_resume()'), 't', 'resumed');
	wait_until('the fence to go by the lease', 5, sub { !$leader->status->{fence}{open_without_end} });
	ok(!defined JSON::PP::decode_json($c->kv('config'))->{pause}, 'nothing of it is left in the configuration');
}

# Consul away: an error that says what is not known, and the session goes on
{
	$c->consul_signal('STOP');
	my (undef, undef, $err) = $leader->psql("SELECT * FROM pg_ha_edit_config('" . param('"work_mem": "6MB"') . "')");
	like($err, qr/Consul did not answer: whether the configuration was changed is not known/, 'Consul is away');
	$c->consul_signal('CONT');
	wait_until('the next command', 10, sub { my $rows = $leader->try_query("SELECT count(*) FROM pg_ha_edit_config('" . param('"work_mem": "7MB"') . "')"); ($rows // '') eq '1' });
	pass('and the next command works');
}

# a cancelled command gives its place back
{
	$c->consul_signal('STOP');
	for (1 .. 6)
	{
		local $ENV{PGOPTIONS} = '-c statement_timeout=100';
		my (undef, undef, $err) = $leader->psql("SELECT * FROM pg_ha_edit_config('" . param("\"work_mem\": \"1${_}MB\"") . "')");
		like($err, qr/statement timeout/, "cancelled, $_");
	}
	$c->consul_signal('CONT');
	wait_until('a command after them', 20, sub { my $rows = $leader->try_query('SELECT pg_ha_show_config()'); defined $rows && $rows =~ /work_mem/ });
	pass('their places are free again');
}

# waiting for what the cluster is to be
{
	my $name = $standby->{name};
	is($standby->query("SELECT pg_ha_wait_for('leader($leader->{name})') AND pg_ha_wait_for('member_streaming($name)') AND pg_ha_wait_for('healthy')"), 't', 'what is met is answered at once');
	$standby->stop;
	my (undef, undef, $err) = $leader->psql("SELECT pg_ha_wait_for('healthy', '500 ms')");
	like($err, qr/not met in time.*(it does not stream|the instance does not run): $name/s, 'a member that is down is missed');
	$standby->start;
	is($leader->query("SELECT pg_ha_wait_for('member_streaming($name)', '1 min')"), 't', 'and awaited');
	for my $case ([ "'leaders'", qr/unknown condition "leaders"/ ], [ "'leader', '-1 s'", qr/can't be negative/ ], [ "'member_streaming(a\"b)', '0 s'", qr/there is no such member: a"b/ ])
	{
		(undef, undef, $err) = $leader->psql("SELECT pg_ha_wait_for($case->[0])");
		like($err, $case->[1], "$case->[0]");
	}
}

# only for whom it is granted
{
	$leader->query('CREATE ROLE ordinary');
	for my $call ("pg_ha_show_config()", "pg_ha_edit_config('{}')", "pg_ha_set_config('{}')", 'pg_ha_pause()', 'pg_ha_resume()')
	{
		my (undef, undef, $err) = $leader->psql("SET ROLE ordinary; SELECT * FROM $call");
		like($err, qr/permission denied for function/, "$call is not for everybody");
	}
}

done_testing;
