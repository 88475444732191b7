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

done_testing;
