# The table of faults, as scenarios: what is done to a cluster of PgHa::Net, and
# what is promised, written down before it is done.
#
#   row, what      the row of the table, and the fault in words
#   why            what is to hold, and why
#   leader         'same' (and its term), 'same member', 'other', or 'any'
#   no_restart     the leader's postmaster lives on
#   gap            seconds without a commit, at the most
#   may_lose       acknowledgements after the fault may be lost (asynchronous
#                  replication, and the node took them along)
#   run            sub ($net, $leader, $oracle); it may call $oracle->fault_begins
#
# When it returns, PgHa::Net::heal gives back everything that was taken, and the
# oracles are asked.

package PgHa::Faults;

use strict;
use warnings;
use File::Path qw(remove_tree);
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep time);
use PgHa::Cluster qw(wait_until slurp spit run_ok http);

# The lease, and how long a takeover takes from its end on, on a busy machine.
use constant L => 3;
use constant TAKEOVER => 5.5;

# Consul's own election, when its leader goes too.
use constant ELECTION => 8;

# A restart in place, and a commit that waits for Consul to come back.
use constant RESTART => 3;

my @table;

sub scenario { my ($row, $what, %o) = @_; push @table, { row => $row, what => $what, %o } }
sub table { return @table }

sub other_leader
{
	my ($net, $old) = @_;
	return wait_until('another leader', 30, sub {
		my $l = $net->lease;
		return undef unless $l && !$l->{released} && $l->{holder} ne $old->{name};
		my $m = $net->member($l->{holder});
		return ($m->try_query('SELECT pg_is_in_recovery()') // '') eq 'f' ? $m : undef;
	});
}

sub child_of
{
	my ($m, $name) = @_;
	my @all = $m->instance_pids or die "no process of $m->{name} is seen\n";
	return grep { slurp("/proc/$_/cmdline") =~ /\Q$name/ } @all;
}

sub program_of
{
	my ($m, $name) = @_;
	my @found;
	for my $proc (glob '/proc/[0-9]*')
	{
		my $cmd = slurp("$proc/cmdline");
		push @found, $proc =~ /(\d+)$/ if $cmd =~ /^[^\0]*\Q$name\E\0/ && index($cmd, "$m->{dir}/") >= 0;
	}
	return @found;
}

sub caught_up
{
	my ($net, $leader) = @_;
	wait_until('the standbys to have caught up', 20, sub { $leader->query(
		"SELECT count(*) FROM pg_stat_replication WHERE pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn) < 65536") == 2 });
}

scenario 1, 'postmaster of the primary: kill -9',
	why => 'the WAL is on disk: its end is found, a standby that has all of it leads, else it restarts; nothing is lost',
	leader => 'any', gap => RESTART,
	run => sub { my ($net, $leader) = @_; $leader->kill_postmaster; sleep 1 };

scenario 2, 'a backend of the primary: kill -9 (crash-restart cycle)',
	why => 'the restart takes less than L, the lease is bridged: no failover',
	leader => 'same', no_restart => 1, gap => RESTART,
	run => sub {
		my ($net, $leader) = @_;
		kill 'KILL', wait_until('a backend', 5, sub { (child_of($leader, 'INSERT'), child_of($leader, 'idle'))[0] }, 0.01);
		sleep 1;
	};

scenario 3, 'the worker: kill -9, the launcher: kill -9, then both at once',
	why => 'the worker\'s death is a crash-restart; the launcher\'s costs nothing; both heal, or another leads',
	leader => 'any', gap => TAKEOVER,
	run => sub {
		my ($net, $leader) = @_;
		kill 'KILL', $leader->worker_pid;
		$net->wait_writing($net->{oracle}{all}, 15);
		$leader->kill_launcher;
		$net->wait_writing($net->{oracle}{all}, 15);
		$leader->start;
		wait_until('a worker', 15, sub { $leader->worker_pid });
		kill 'KILL', $leader->worker_pid;
		$leader->kill_launcher;
		sleep 1;
		$leader->start;
	};

scenario 4, 'the worker: SIGSTOP for L/2',
	why => 'the next heartbeat comes in time: no failover, no commit fails',
	leader => 'same', no_restart => 1, gap => L,
	run => sub { my ($net, $leader) = @_; my $pid = $leader->worker_pid; kill 'STOP', $pid; sleep L / 2; kill 'CONT', $pid };

scenario 4, 'worker and launcher: SIGSTOP for 2 L',
	why => 'the fence closes at the deadline, another leads; backends that run acknowledge nothing more',
	leader => 'other', gap => TAKEOVER, may_lose => 1,
	run => sub {
		my ($net, $leader) = @_;
		my @pids = ($leader->worker_pid, $leader->{launcher_pid});
		kill 'STOP', @pids;
		sleep 2 * L;
		kill 'CONT', @pids;
	};

scenario 4, 'every process of the node but Consul: SIGSTOP for 2 L',
	why => 'another leads; who resumes in the middle of a commit does not acknowledge it',
	leader => 'other', gap => TAKEOVER, may_lose => 1,
	run => sub {
		my ($net, $leader) = @_;
		my @pids = grep { $_ != $net->consul_of($leader->{name})->{pid} } PgHa::Net::pids_of($leader->{name});
		kill 'STOP', @pids;
		other_leader($net, $leader);
		sleep 1;
		kill 'CONT', @pids;
		sleep 1;
	};

scenario 4, 'the postmaster: SIGSTOP for L',
	why => 'backends go on, the worker heartbeats: L is less than health_timeout, nothing happens',
	leader => 'same', no_restart => 1, gap => L,
	run => sub { my ($net, $leader) = @_; my $pid = $leader->kill_postmaster('STOP'); sleep L; kill 'CONT', $pid };

scenario 5, 'power off: the primary\'s node with its Consul server, which follows',
	why => 'another leads after L, the margin and 1 s; what the node took along may be missing',
	leader => 'other', gap => TAKEOVER, may_lose => 1,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		my ($standby) = grep { $_ != $leader } $net->members;
		$net->lead_consul_on($standby->{name}) or note 'Consul chose another leader';
		$net->wait_healthy(30);
		$oracle->fault_begins;
		$net->power_off($leader->{name});
		other_leader($net, $leader);
		$net->wait_writing($net->{oracle}{all}, 15);
		$net->power_on($leader->{name});
	};

scenario 5, 'power off: the primary\'s node with its Consul server, which leads Consul',
	why => 'as before, and Consul has to elect a leader first, and the clock for L begins then',
	leader => 'other', gap => TAKEOVER + ELECTION, may_lose => 1,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		$net->lead_consul_on($leader->{name}) or note 'Consul chose another leader';
		$net->wait_healthy(30);
		$oracle->fault_begins;
		$net->power_off($leader->{name});
		other_leader($net, $leader);
		$net->wait_writing($net->{oracle}{all}, 15);
		$net->power_on($leader->{name});
	};

scenario 6, 'the primary is cut off from Consul only, whose leader is on its node',
	why => 'failsafe keeps it open: no restart, no second writer',
	leader => 'same', no_restart => 1, gap => L,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		$net->lead_consul_on($leader->{name}) or note 'Consul chose another leader';
		$net->wait_healthy(30);
		$oracle->fault_begins;
		$net->isolate($leader->{name}, only => 'consul');
		sleep 4 * L;
	};

scenario 7, 'the primary is cut off from the standbys only',
	why => 'asynchronous: writes go on; Consul hears from it: no failover',
	leader => 'same', no_restart => 1, gap => 1,
	run => sub {
		my ($net, $leader) = @_;
		$net->isolate($leader->{name}, only => 'members', but => ['client']);
		sleep 2 * L;
	};

scenario 8, 'the primary is cut off from all but the clients, Consul\'s leader with it',
	why => 'it fences itself by L, its clients get errors; another leads',
	leader => 'other', gap => TAKEOVER + ELECTION, may_lose => 1,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		$net->lead_consul_on($leader->{name}) or note 'Consul chose another leader';
		$net->wait_healthy(30);
		$oracle->fault_begins;
		$net->isolate($leader->{name}, but => ['client']);
		other_leader($net, $leader);
		sleep 2;
	};

scenario 9, 'what the primary sends to the other nodes is lost (one direction)',
	why => 'its heartbeats do not land: it fences itself, another leads',
	leader => 'other', gap => TAKEOVER + ELECTION, may_lose => 1,
	run => sub {
		my ($net, $leader) = @_;
		$net->isolate($leader->{name}, outbound => 1, but => ['client']);
		other_leader($net, $leader);
		sleep 1;
	};

scenario 9, 'a ring: the primary and one standby do not see each other',
	why => 'both see the third node: no failover',
	leader => 'same', no_restart => 1, gap => TAKEOVER,
	run => sub {
		my ($net, $leader) = @_;
		my ($standby) = grep { $_ != $leader } $net->members;
		$net->cut_both($leader->{name}, $standby->{name});
		sleep 3 * L;
	};

scenario 9, 'the primary\'s link flaps: down for 0.2 to 0.8 s, up for 1 s, six times',
	why => 'each blip is far shorter than L: no failover',
	leader => 'same', no_restart => 1, gap => L,
	run => sub {
		my ($net, $leader) = @_;
		for my $n (1 .. 6)
		{
			$net->unplug($leader->{name});
			sleep 0.2 + 0.12 * ($n - 1);
			$net->plug($leader->{name});
			sleep 1;
		}
	};

scenario 10, 'the primary\'s link to the others\' Consul: 200 ms late, 5 % lost, some overtake',
	why => 'slow is not gone: no failover',
	leader => 'same', no_restart => 1, gap => L,
	run => sub {
		my ($net, $leader) = @_;
		$net->slow_link($leader->{name}, only => 'consul', delay_ms => 200, loss => 5, reorder => 10);
		sleep 3 * L;
	};

scenario 11, 'Consul\'s leader, on the primary\'s node: kill -9',
	why => 'the two others elect another; the lease is longer than that takes, or failsafe bridges it',
	leader => 'same', no_restart => 1, gap => L,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		$net->lead_consul_on($leader->{name}) or note 'Consul chose another leader';
		$net->wait_healthy(30);
		$oracle->fault_begins;
		$net->stop_consul_on($leader->{name});
		sleep 2 * L;
	};

scenario 11, 'all three Consul servers frozen for 4 L',
	why => 'failsafe: no write fails, no restart, no other leader',
	leader => 'same', no_restart => 1, gap => L,
	run => sub {
		my ($net) = @_;
		$net->consul_signal('STOP');
		sleep 4 * L;
		$net->consul_signal('CONT');
	};

scenario 11, 'Consul: quorum lost, then an older snapshot is restored (indexes go back)',
	why => 'the holder of the running lease takes over from the restored one: no second leader, nothing lost',
	leader => 'same member', no_restart => 1, gap => 2 * L,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		$net->save_snapshot;
		sleep 2;
		$oracle->fault_begins;
		my @gone = grep { $_ ne $leader->{name} } qw(n1 n2 n3);
		$net->stop_consul_on($_) for @gone;
		sleep 2;
		$net->start_consul;
		$net->restore_snapshot;
		sleep L;
	};

scenario 12, 'the primary\'s own Consul server: leave, start, kill -9, start with another session_ttl_min',
	why => 'the other servers answer and the key is taken again: no failover, no restart',
	leader => 'same', no_restart => 1, gap => L,
	run => sub {
		my ($net, $leader) = @_;
		my $name = $leader->{name};
		my $s = $net->consul_of($name);
		http('PUT', "http://$s->{host}:8500/v1/agent/leave");
		$net->reap(delete $s->{pid}, 20);
		sleep 1;
		$net->start_consul;
		$net->stop_consul_on($name);
		local $net->{consul_config} = { %{ $net->{consul_config} }, session_ttl_min => '20s' };
		$net->start_consul;
		sleep 1;
	};

scenario 13, 'the session is destroyed, the leader key deleted, then overwritten',
	why => 'losing the session or the key is not losing the lease: it takes the key again',
	leader => 'same', no_restart => 1, gap => L,
	run => sub {
		my ($net, $leader) = @_;
		my $again = sub { wait_until('the key to be taken again', 15, sub { ($net->kv('leader') // '') eq $leader->{name} }) };
		$net->consul_do('PUT', '/v1/session/destroy/' . $net->lease->{session});
		$again->();
		$net->kv_delete('leader');
		$again->();
		$net->kv_put('leader', 'somebody');
		$again->();
	};

scenario 14, 'the ACL token of all members is revoked for 3 L',
	why => 'Consul answers, and refuses: as when it is away, failsafe keeps the primary open',
	leader => 'same', no_restart => 1, gap => L,
	run => sub { my ($net) = @_; $net->revoke_token; sleep 3 * L; $net->make_token };

scenario 15, 'Consul is wiped: all servers stopped, their data removed, started again',
	why => 'the same leader within ttl of Consul\'s return, everything it knew is rebuilt; nothing is lost',
	leader => 'same member', no_restart => 1, gap => L,
	run => sub {
		my ($net, $leader) = @_;
		$net->wipe_consul;
		my $at = time;
		wait_until('the lease', 15, sub { ($net->lease // {})->{holder} });
		note sprintf('the lease is back after %.1f s', time - $at);
	};

scenario 17, 'a standby: kill -9, then its receiver SIGSTOP, then pg_control destroyed',
	why => 'the primary does not care; the standby is cloned when its directory is past saving',
	leader => 'same', no_restart => 1, gap => 1,
	run => sub {
		my ($net, $leader) = @_;
		my ($standby) = grep { $_ != $leader } $net->members;
		$standby->kill_postmaster;
		$net->wait_healthy(40);
		my @receiver = child_of($standby, 'walreceiver');
		kill 'STOP', @receiver;
		sleep L;
		kill 'CONT', @receiver;
		$standby->stop;
		spit("$standby->{data}/global/pg_control", "\0" x 8192);
		$standby->start;
	};

# Rows that no standby gets, then the node dies.
sub diverge
{
	my ($net, $leader, $oracle) = @_;
	my @receivers = map { child_of($_, 'walreceiver') } grep { $_ != $leader } $net->members;
	$oracle->fault_begins;
	kill 'STOP', @receivers;
	sleep 0.5;
	$leader->kill_node;
	kill 'KILL', @receivers;
	return other_leader($net, $leader);
}

scenario 20, 'an old primary with WAL of its own returns; the source of its rewind dies',
	why => 'it is rewound or cloned from whoever leads then; never half-dead',
	leader => 'any', gap => 2 * TAKEOVER, may_lose => 1,
	run => sub {
		my ($net, $old, $oracle) = @_;
		my $new = diverge($net, $old, $oracle);
		$old->start;
		my $rewinding = eval { wait_until('pg_rewind', 20, sub { (program_of($old, 'pg_rewind'))[0] }, 0.002) };
		note $rewinding ? 'pg_rewind was running' : 'pg_rewind was not seen running';
		$new->kill_node;
		$new->start;
	};

# By SQL on a standby, to another member; its answer or its error.
sub switchover
{
	my ($net, $leader, $candidate) = @_;
	my ($other) = grep { $_ != $leader && $_ != $candidate } $net->members;
	my ($rc, $out, $err) = $other->psql("SELECT state, new_leader, ms_without_writes FROM pg_ha_switchover('$candidate->{name}')");
	return $rc ? $err : $out;
}

scenario 21, 'switchover under load',
	why => 'the leader hands over when the candidate has its last record: nothing is lost',
	leader => 'other', gap => 2,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		my ($one) = grep { $_ != $leader } $net->members;
		caught_up($net, $leader);
		$oracle->fault_begins;
		my $answer = switchover($net, $leader, $one);
		die "switchover: $answer\n" if $answer !~ /^done\|$one->{name}\|/;
		note $answer;
	};

scenario 21, 'switchover, and the candidate takes no more WAL',
	why => 'the old leader does not wait for it: it leads again, nothing is lost',
	leader => 'same', gap => 2 + RESTART,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		my ($one) = grep { $_ != $leader } $net->members;
		caught_up($net, $leader);
		my @receiver = child_of($one, 'walreceiver');
		kill 'STOP', @receiver;
		$oracle->fault_begins;
		my $answer = switchover($net, $leader, $one);
		kill 'CONT', @receiver;
		die "switchover: $answer\n" if $answer !~ /the old leader leads again/;
	};

scenario 21, 'switchover, and a backend of the old leader hangs at its shutdown',
	why => 'after primary_stop_timeout (5 s here) what hangs is killed: another leads, or the old leader again; nothing is lost',
	leader => 'any', gap => 5 + TAKEOVER,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		my ($one) = grep { $_ != $leader } $net->members;
		caught_up($net, $leader);
		my $backend = wait_until('an idle backend', 5, sub { (child_of($leader, 'idle'))[0] }, 0.01);
		kill 'STOP', $backend;
		$oracle->fault_begins;
		note switchover($net, $leader, $one);
	};

scenario 21, 'the leader\'s node is stopped, and one candidate freezes at that moment',
	why => 'the other candidate has the first word after 1 s or by ballots: bounded, nothing is lost',
	leader => 'other', gap => TAKEOVER,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		my ($one) = grep { $_ != $leader } $net->members;
		caught_up($net, $leader);
		$oracle->fault_begins;
		my @frozen = grep { $_ != $net->consul_of($one->{name})->{pid} } PgHa::Net::pids_of($one->{name});
		kill 'STOP', @frozen;
		my $launcher = delete $leader->{launcher_pid};
		kill 'TERM', $launcher;
		other_leader($net, $leader);
		kill 'CONT', @frozen;
		$net->reap($launcher, 60);
	};

scenario 22, 'the primary\'s node dies while a standby is cloned from it',
	why => 'the other standby leads, the clone begins anew from it',
	leader => 'any', gap => TAKEOVER, may_lose => 1,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		my ($standby) = grep { $_ != $leader } $net->members;
		$standby->stop;
		remove_tree($standby->{data});
		$standby->start;
		wait_until('pg_basebackup', 30, sub { (program_of($standby, 'pg_basebackup'))[0] }, 0.002);
		$oracle->fault_begins;
		$leader->kill_node;
		other_leader($net, $leader);
	};

scenario 23, 'the wall clock: an hour forward on the primary, an hour back on a standby',
	why => 'no decision looks at the wall clock',
	leader => 'same', no_restart => 1, gap => 1,
	run => sub {
		my ($net, $leader) = @_;
		my ($standby) = grep { $_ != $leader } $net->members;
		$net->step_clock($leader, 3600);
		$net->step_clock($standby, -3600);
		wait_until('the clock to be off', 5, sub { $leader->query('SELECT extract(epoch FROM clock_timestamp())') > time + 3000 });
		sleep 2 * L;
	};

scenario 24, 'replay is paused on both standbys, and the primary\'s node dies',
	why => 'who has received most leads, in bounded time, and replays all of it first',
	leader => 'other', gap => TAKEOVER + 3, may_lose => 1,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		$_->query('SELECT pg_wal_replay_pause()') for grep { $_ != $leader } $net->members;
		sleep 2;
		$oracle->fault_begins;
		$net->power_off($leader->{name});
		other_leader($net, $leader);
		$net->power_on($leader->{name});
		# the pause is an operator's: only that one is given back
		$_->try_query('SELECT pg_wal_replay_resume()') for $net->members;
	};

scenario 25, 'a second member of a standby\'s name, and a directory of another cluster',
	why => 'both are refused with a clear message; the cluster does not notice',
	leader => 'same', no_restart => 1, gap => 1,
	run => sub {
		my ($net, $leader) = @_;
		my ($standby) = grep { $_ != $leader } $net->members;
		my %on_third = (host => $leader->{host}, node => $leader->{name}, consul => 0, extra => "pg_ha.consul_token_file = '$net->{dir}/token'");
		remove_tree("$net->{dir}/twin", "$net->{dir}/foreign");
		my $twin = PgHa::Member->new($net, 'twin', port => 5433, rest => 8009, %on_third);
		$twin->{name} = $standby->{name};
		my $foreign = PgHa::Member->new($net, 'foreign', port => 5434, rest => 8010, %on_third);
		PgHa::Net::root_ok(PgHa::Net::command_on($leader->{name}, $ENV{PGHA_USER}, "$ENV{PGHA_BINDIR}/initdb",
				'-D', $foreign->{data}, '-U', 'postgres', '-A', 'trust', '-N'));
		$twin->start;
		$foreign->start;
		wait_until('a refusal of the twin', 15, sub { $twin->log_count('alive elsewhere') });
		wait_until('a refusal of the foreign directory', 15, sub { $foreign->log_count('belongs to another cluster') });
		$_->stop for $twin, $foreign;
		$net->kv_delete('members/foreign');
	};

scenario 26, 'paused, then the primary\'s node dies for 2 L and returns',
	why => 'nothing automatic: nobody else leads; it leads again when it is back',
	leader => 'same member', gap => 10 * L,
	run => sub {
		my ($net, $leader, $oracle) = @_;
		$net->pause(1);
		wait_until('the lease to be paused', 15, sub { $net->lease->{paused} });
		$oracle->fault_begins;
		$leader->kill_node;
		sleep 2 * L;
		my $holder = $net->lease->{holder};
		die "$holder has taken a paused lease\n" if $holder ne $leader->{name};
		$leader->start;
		wait_until('the primary to be back', 40, sub { ($leader->try_query('SELECT pg_is_in_recovery()') // '') eq 'f' });
		$net->pause(0);
		wait_until('the end of the pause', 20, sub { !$net->lease->{paused} });
	};

scenario 29, 'the worker may open no more files; then the postmaster can\'t fork',
	why => 'degraded, never two leaders; afterwards all is well',
	leader => 'any', gap => 2 * TAKEOVER, may_lose => 1,
	run => sub {
		my ($net, $leader) = @_;
		my $limit = sub { PgHa::Net::root_ok(PgHa::Net::command_on($leader->{name}, $ENV{PGHA_USER}, 'prlimit', @_)) };
		my $worker = $leader->worker_pid;
		$limit->('--pid', $worker, '--nofile=16:');
		sleep 2 * L;
		$limit->('--pid', $worker, '--nofile=1024:') if kill 0, $worker;
		my $pid = $leader->postmaster_pid or return;
		my ($before) = $limit->('--pid', $pid, '--nproc', '--output', 'SOFT', '--noheadings', '--raw') =~ /(\w+)/;
		$limit->('--pid', $pid, '--nproc=1:');
		sleep L;
		$limit->('--pid', $pid, "--nproc=$before:") if kill 0, $pid;
	};

1;
