# What may be in the cluster's configuration, whoever wrote it: from SQL by an
# administrator, or into Consul by another tool.

use strict;
use warnings;
use JSON::PP ();
use PgHa::Cluster qw(slurp spit wait_until);
use Test::More;

my $c = PgHa::Cluster->new(members => 2, ttl => 3);
$c->start;
my $leader = $c->leader;
my ($standby) = $c->standbys;

sub config { return JSON::PP::decode_json($_[0]->query('SELECT pg_ha_show_config()')) }
sub param { return '{"postgresql": {"parameters": {' . $_[0] . '}}}' }
# (rows or undef, what was said) of an edit
sub edit
{
	my ($member, $patch) = @_;
	my ($rc, $out, $err) = $member->psql("SELECT path, old, new FROM pg_ha_edit_config('$patch') ORDER BY path");
	return ($rc ? undef : $out, $err);
}
sub events_like { my ($m, $re) = @_; return scalar grep { "$_->{action}: $_->{what}" =~ $re } $m->events }

# the key deleted in Consul
{
	edit($leader, param('"work_mem": "5MB"'));
	my $before = config($standby);
	$c->kv_delete('config');
	wait_until('the configuration to be written again', 10, sub { defined $c->kv('config') });
	is_deeply(JSON::PP::decode_json($c->kv('config')), $before, 'a deleted configuration is written again as it was in force');
	for my $m ($leader, $standby)
	{
		wait_until('the event', 10, sub { events_like($m, qr/configuration deleted/) });
		is($m->query('SHOW work_mem'), '5MB', "in force on $m->{name} all the time, and an event says so");
	}

	# nobody writes it again while the leader hangs
	kill 'STOP', my $worker = $leader->worker_pid;
	$c->kv_delete('config');
	my ($rows, $err) = edit($standby, param('"work_mem": "6MB"'));
	kill 'CONT', $worker;
	is($rows, 'postgresql.parameters.work_mem|"5MB"|"6MB"', 'an edit works while it is gone');
	like($err, qr/NOTICE:.*was deleted.*written again/, 'with a notice');
	$before->{postgresql}{parameters}{work_mem} = '6MB';
	is_deeply(config($standby), $before, 'and loses nothing');
	$c->wait_healthy;
	$leader = $c->leader;
	($standby) = $c->standbys;
}

# ... while the whole cluster is down
{
	my $before = config($standby);
	$_->stop for $standby, $leader;
	$c->kv_delete('config');
	$_->start for $leader, $standby;
	$c->wait_healthy;
	$leader = $c->leader;
	($standby) = $c->standbys;
	wait_until('the configuration to be written again', 10, sub { defined $c->kv('config') });
	is_deeply(JSON::PP::decode_json($c->kv('config')), $before, 'deleted while all members were down, it is written again from what the leader kept');
	is($_->query('SHOW work_mem'), '6MB', "in force on $_->{name}") for $leader, $standby;
}

# settings of which a standby must not have less than the primary: what is
# pending on whom, while they grow and shrink
{
	my $pending = sub {
		my ($expected, $what) = @_;
		for my $m ($leader, $standby)
		{
			my $now = '';
			eval { wait_until($what, 15, sub { $now = $m->query('SELECT member, setting, running, next FROM pg_ha_pending_restart ORDER BY member, setting'); $now eq join "\n", sort @$expected }) };
			is($now, join("\n", sort @$expected), "$what, as $m->{name} sees it");
		}
	};
	my $restart = sub {
		my ($m, $setting, $value) = @_;
		my $term = $c->lease->{term};
		$m->kill_postmaster('INT');
		wait_until("$m->{name} to run with $setting $value", 30, sub { ($m->try_query("SHOW $setting") // '') eq $value });
		$c->wait_healthy;
		is($c->lease->{term}, $term, "$m->{name} runs with $setting $value, under the same leader");
	};
	my ($l, $s) = map { $_->{name} } $leader, $standby;

	edit($leader, param('"max_connections": 120'));
	$pending->([ "$l|max_connections|100|120", "$s|max_connections|100|120" ], 'growing: both wait for a restart');
	$restart->($standby, 'max_connections', 120);
	$pending->([ "$l|max_connections|100|120" ], 'the standby has it already');
	$restart->($leader, 'max_connections', 120);
	$pending->([], 'nothing is pending');

	edit($standby, param('"max_connections": 110'));
	$pending->([ "$l|max_connections|120|110" ], 'shrinking: the standby would get what the leader has');
	$restart->($standby, 'max_connections', 120);
	$pending->([ "$l|max_connections|120|110" ], 'and so a restart changes nothing there');
	$restart->($leader, 'max_connections', 110);
	$pending->([ "$s|max_connections|120|110" ], 'now the standby may follow');

	# a failover in the middle: the new leader has the larger value
	$leader->kill_node;
	wait_until('the standby to lead', 30, sub { ($standby->try_query('SELECT NOT pg_is_in_recovery()') // '') eq 't' });
	$leader->start;
	$c->wait_healthy;
	($leader, $standby) = ($standby, $leader);
	is($leader->query('SHOW max_connections'), 120, 'after a failover in the middle the new leader has the larger value');
	is($standby->query('SHOW max_connections'), 120, 'and the old one comes back with as much');
	$pending->([ "$s|max_connections|120|110" ], 'the leader may shrink, the standby not yet');
	$restart->($leader, 'max_connections', 110);
	$pending->([ "$l|max_connections|120|110" ], 'then the standby');
	$restart->($standby, 'max_connections', 110);
	$pending->([], 'nothing is pending');

	# the primary first: its standby is restarted for it
	edit($leader, param('"max_connections": 130, "max_prepared_transactions": 7'));
	wait_until('pending', 10, sub { $leader->query('SELECT count(*) FROM pg_ha_pending_restart') eq '4' });
	$restart->($leader, 'max_prepared_transactions', 7);
	wait_until('the standby to be restarted', 30, sub { ($standby->try_query('SHOW max_prepared_transactions') // '') eq '7' });
	$c->wait_healthy;
	$pending->([], 'growing on the leader first takes the standby along');
	edit($leader, param('"max_connections": null, "max_prepared_transactions": null'));
	wait_until('pending', 10, sub { $leader->query('SELECT count(*) FROM pg_ha_pending_restart') eq '2' });
	$restart->($leader, 'max_connections', 100);
	wait_until('pending', 10, sub { $leader->query("SELECT string_agg(setting || next, ' ' ORDER BY setting) FROM pg_ha_pending_restart") eq 'max_connections100 max_prepared_transactions0' });
	$restart->($standby, 'max_connections', 100);
	$pending->([], 'taken back: nothing is pending');
}

# rules: the server's own parser reads them before they are written
{
	my $good = '["local all all trust", "# remark", "", "host all all 127.0.0.1/32 trust", "host all all samenet scram-sha-256", "hostnossl \\"a b\\" +g ::1 ffff:: md5"]';
	edit($leader, '{"postgresql": {"pg_hba": ' . $good . ', "pg_ident": ["m /^(.*)@x$ \\\\1"]}}');
	for my $m ($leader, $standby)
	{
		wait_until("the rules on $m->{name}", 10, sub { $m->query(q(SELECT count(*) FROM pg_hba_file_rules WHERE error IS NULL)) eq '6' });
		is($m->query('SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL'), 0, "rules and pg_ha's own two are in force on $m->{name}");
		is($m->query('SELECT count(*) FROM pg_ident_file_mappings'), 1, 'and the mapping');
	}
	my $before = config($leader);
	for my $case (
		[ 'pg_hba', 'hosts all all all md5', qr/postgresql\.pg_hba, line 2: invalid connection type "hosts"/ ],
		[ 'pg_hba', 'host all all 127.0.0.1/33 md5', qr/line 2: invalid CIDR mask in address "127\.0\.0\.1\/33"/ ],
		[ 'pg_hba', 'host all all 10.0.0.0 md5', qr/line 2: invalid IP mask "md5"/ ],
		[ 'pg_hba', 'host all all 10.0.0.0/8', qr/line 2: end-of-line before authentication method/ ],
		[ 'pg_hba', 'host all all all md6', qr/line 2: invalid authentication method "md6"/ ],
		[ 'pg_hba', 'host all all all peer', qr/line 2: peer authentication is only supported on local sockets/ ],
		[ 'pg_hba', 'host all all all ldap', qr/line 2: authentication method "ldap" requires argument/ ],
		[ 'pg_hba', 'host all all all md5 map', qr/line 2: authentication option not in name=value format: map/ ],
		[ 'pg_hba', 'local all all trust\\nlocal all all md5', qr/line 2: it contains a line break/ ],
		[ 'pg_hba', 'local all all trust \\\\', qr/line 2: it ends in a backslash/ ],
		[ 'pg_ident', 'm a', qr/postgresql\.pg_ident, line 2: missing entry at end of line/ ],
		[ 'pg_ident', 'm /( a', qr/line 2: invalid regular expression "\("/ ])
	{
		my ($field, $line, $message) = @$case;
		my $first = $field eq 'pg_hba' ? 'local all all trust' : 'a b c';
		my ($rows, $err) = edit($standby, qq({"postgresql": {"$field": ["$first", "$line"]}}));
		like($err, $message, "$line is refused");
		like($err, qr/The line is: /, 'and shown') unless $line =~ /nlocal/;
	}
	for my $case ([ '"local all all trust"', qr/pg_hba must be an array of strings/ ], [ '["local all all trust", 1]', qr/pg_hba must be an array of strings/ ])
	{
		my ($rows, $err) = edit($leader, qq({"postgresql": {"pg_hba": $case->[0]}}));
		like($err, $case->[1], "$case->[0] is refused");
	}
	is_deeply(config($leader), $before, 'nothing has changed');

	# written by others
	my $files = slurp("$leader->{state}/pg_hba.conf");
	my $put = sub { my $d = JSON::PP::decode_json($c->kv('config')); $_[0]->($d->{postgresql}); $c->kv_put('config', JSON::PP::encode_json($d)) };
	for my $case (
		[ [ 'local all all trust', 'hosts all all all md5' ], qr/pg_hba: line 2 is malformed \("hosts all all all md5": "hosts" is no kind of connection\), so the whole list is not used/ ],
		[ 'local all all trust', qr/pg_hba: it is no list/ ],
		[ [ 'host all all 127.0.0.1/33 trust' ], qr/pg_hba: line 1 is malformed .*no network/ ])
	{
		$put->(sub { $_[0]{pg_hba} = $case->[0]; $_[0]{parameters}{work_mem} = (8 + int(rand(90))) . 'MB' });
		my $work_mem = JSON::PP::decode_json($c->kv('config'))->{postgresql}{parameters}{work_mem};
		for my $m ($leader, $standby)
		{
			wait_until('the rest of it to be in force', 10, sub { $m->query('SHOW work_mem') eq $work_mem });
			ok(events_like($m, $case->[1]), "bad rules written to Consul: an event on $m->{name} says so");
			is($m->query('SELECT count(*) FROM pg_hba_file_rules WHERE error IS NULL'), 6, 'and those before stay in force');
		}
	}
	is(slurp("$leader->{state}/pg_hba.conf"), $files, 'in the file, too');
	edit($standby, '{"postgresql": {"pg_hba": ["host all all 127.0.0.1/32 trust"], "pg_ident": null}}');
	wait_until('good rules', 10, sub { $leader->query('SELECT count(*) FROM pg_hba_file_rules') eq '3' });
	pass('a good list takes their place');
}

# names and values of old
{
	my ($rows, $err) = edit($leader, param('"archive_mode": "on", "archive_command": "/bin/true", "archive_timeout": "1800s", "hot_standby": "on", "max_connections": 100, "max_replication_slots": 5, "max_wal_senders": 10, "wal_keep_segments": 8, "wal_level": "hot_standby", "wal_log_hints": "on", "checkpoint_segments": 8, "default_with_oids": "off", "password_encryption": true'));
	like($err, qr/NOTICE:  wal_keep_segments: read as wal_keep_size = 128MB, its name since PostgreSQL 13/, 'wal_keep_segments is translated, with a notice');
	like($err, qr/NOTICE:  checkpoint_segments: read as max_wal_size = 384MB/, 'and so is checkpoint_segments');
	like($err, qr/NOTICE:  wal_level: "hot_standby" is read as "replica"/, 'and wal_level hot_standby');
	like($err, qr/NOTICE:  password_encryption: "on" is read as "md5"/, 'and password_encryption on');
	like($err, qr/NOTICE:  $_: it is always on/, "$_ is said to be always on") for 'hot_standby', 'wal_log_hints';
	like($err, qr/NOTICE:  default_with_oids: not used: PostgreSQL has no such setting since version 12/, 'what is no more is said');
	is(config($standby)->{postgresql}{parameters}{wal_keep_segments}, 8, 'all is kept as entered');
	for my $m ($leader, $standby)
	{
		wait_until('wal_keep_size', 10, sub { $m->query('SHOW wal_keep_size') eq '128MB' });
		is($m->query('SHOW wal_level') . ' ' . $m->query('SHOW hot_standby') . ' ' . $m->query('SHOW password_encryption'), 'replica on md5', "in force on $m->{name}");
	}
	my $before = config($leader);
	for my $case (
		[ '"wal_keep_segments": "many"', qr/invalid value for parameter "wal_keep_size": "many"/ ],
		[ '"wal_log_hints": "off"', qr/"wal_log_hints" can't be set for the cluster/ ],
		[ '"hot_standby": false', qr/"hot_standby" can't be set for the cluster/ ],
		[ '"wal_level": "hot"', qr/invalid value for parameter "wal_level": "hot"/ ],
		[ '"trigger file": "x"', qr/unrecognized configuration parameter "trigger file"/ ])
	{
		my ($none, $said) = edit($leader, param($case->[0]));
		like($said, $case->[1], "$case->[0] is refused");
	}
	is_deeply(config($leader), $before, 'nothing has changed');
	(undef, $err) = edit($leader, param('"wal_keep_size": "1GB"'));
	wait_until('wal_keep_size', 10, sub { $standby->query('SHOW wal_keep_size') eq '1GB' });
	pass('where both names are given, the present one counts');
	edit($leader, '{"postgresql": {"parameters": null}}');
}

done_testing;
