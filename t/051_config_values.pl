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

done_testing;
