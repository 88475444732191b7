/* pg_ha 1.0: what administrators see and do in SQL */

-- complain if this file is not run by CREATE EXTENSION
\echo Use "CREATE EXTENSION pg_ha" to load this file. \quit

CREATE FUNCTION pg_ha_status() RETURNS jsonb
LANGUAGE C VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pg_ha_status_sql';
COMMENT ON FUNCTION pg_ha_status() IS
'this node and its cluster in one document: role, leader, term, fence (state: open, closed or inactive; remaining_ms of the lease; commits refused and waited; connections cut), consul, can_lose (how many further members and Consul servers, and why not more), the rule in force and why; without a worker, the reason and a hint';
REVOKE ALL ON FUNCTION pg_ha_status() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_ha_status() TO pg_monitor;

CREATE FUNCTION pg_ha_document(name text) RETURNS jsonb
LANGUAGE C VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pg_ha_document_sql';
COMMENT ON FUNCTION pg_ha_document(text) IS
'"members", "history" or "jobs" as the worker last published it, a JSON array; what the views of these names are made from';
REVOKE ALL ON FUNCTION pg_ha_document(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_ha_document(text) TO pg_monitor;

CREATE FUNCTION pg_ha_events_read() RETURNS SETOF jsonb
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_events_sql';
COMMENT ON FUNCTION pg_ha_events_read() IS
'the lines of this member''s event file that are whole, oldest first; what pg_ha_events is made from';
REVOKE ALL ON FUNCTION pg_ha_events_read() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_ha_events_read() TO pg_monitor;

CREATE FUNCTION pg_ha_rules_read(OUT id int, OUT section text, OUT action text, OUT why text)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'pg_ha_rules_sql';
COMMENT ON FUNCTION pg_ha_rules_read() IS
'the rule table of this version, in the order in which rules are tried';
REVOKE ALL ON FUNCTION pg_ha_rules_read() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_ha_rules_read() TO pg_monitor;

CREATE VIEW pg_ha_members AS
SELECT m.* FROM jsonb_to_recordset(pg_ha_document('members')) AS m(
	name text, host text, port int, role text, state text, timeline int,
	lsn pg_lsn, lag_bytes bigint, replication_state text, sync_state text,
	pending_restart boolean, pending_restart_settings text[], tags jsonb,
	api_url text, seen_at timestamptz);
COMMENT ON VIEW pg_ha_members IS
'the members of the cluster as this node last read them from Consul';
COMMENT ON COLUMN pg_ha_members.name IS 'the member''s name';
COMMENT ON COLUMN pg_ha_members.host IS 'where clients and members connect';
COMMENT ON COLUMN pg_ha_members.port IS 'where clients and members connect';
COMMENT ON COLUMN pg_ha_members.role IS 'leader or replica';
COMMENT ON COLUMN pg_ha_members.state IS 'running, streaming, starting, stopped, creating replica, ...';
COMMENT ON COLUMN pg_ha_members.timeline IS 'of its last WAL';
COMMENT ON COLUMN pg_ha_members.lsn IS 'leader: flushed; others: received or replayed, whichever is further';
COMMENT ON COLUMN pg_ha_members.lag_bytes IS 'bytes behind the leader''s position as this node knows it; null for the leader';
COMMENT ON COLUMN pg_ha_members.replication_state IS 'streaming, or null';
COMMENT ON COLUMN pg_ha_members.sync_state IS 'async, or null when not streaming';
COMMENT ON COLUMN pg_ha_members.pending_restart IS 'a changed setting waits for a restart';
COMMENT ON COLUMN pg_ha_members.pending_restart_settings IS 'their names';
COMMENT ON COLUMN pg_ha_members.tags IS 'pg_ha.tags of the member; known for this node';
COMMENT ON COLUMN pg_ha_members.api_url IS 'its REST endpoint';
COMMENT ON COLUMN pg_ha_members.seen_at IS 'when this node read it';

CREATE VIEW pg_ha_pending_restart AS
SELECT m.name AS member, p.key AS setting, p.value->>'old_value' AS running,
	p.value->>'new_value' AS next
FROM jsonb_to_recordset(pg_ha_document('members')) AS m(name text, pending jsonb),
	jsonb_each(m.pending) AS p;
COMMENT ON VIEW pg_ha_pending_restart IS
'the settings that wait for a restart, of all members';
COMMENT ON COLUMN pg_ha_pending_restart.member IS 'the member''s name';
COMMENT ON COLUMN pg_ha_pending_restart.setting IS 'the setting''s name';
COMMENT ON COLUMN pg_ha_pending_restart.running IS 'what the member runs with';
COMMENT ON COLUMN pg_ha_pending_restart.next IS 'what its files say for the next start';

CREATE VIEW pg_ha_history AS
SELECT h.* FROM jsonb_to_recordset(pg_ha_document('history')) AS h(
	timeline int, lsn pg_lsn, reason text, at timestamptz, leader text)
ORDER BY h.timeline;
COMMENT ON VIEW pg_ha_history IS
'the cluster''s timelines: where each ended, and who led the next';
COMMENT ON COLUMN pg_ha_history.timeline IS 'the timeline that ended';
COMMENT ON COLUMN pg_ha_history.lsn IS 'where it ended';
COMMENT ON COLUMN pg_ha_history.reason IS 'as PostgreSQL''s history file has it';
COMMENT ON COLUMN pg_ha_history.at IS 'when the next one began; null if not known';
COMMENT ON COLUMN pg_ha_history.leader IS 'who began the next one; null if not known';

CREATE VIEW pg_ha_events AS
SELECT (e->>'time')::timestamptz AS at, e->>'member' AS member,
	(e->>'rule')::int AS rule, e->>'action' AS action, e->>'what' AS what,
	e->'facts' AS facts
FROM pg_ha_events_read() AS e;
COMMENT ON VIEW pg_ha_events IS
'what this member decided and saw, oldest first; kept on disk, bounded';
COMMENT ON COLUMN pg_ha_events.at IS 'when it was written down';
COMMENT ON COLUMN pg_ha_events.member IS 'who wrote it';
COMMENT ON COLUMN pg_ha_events.rule IS 'the rule of pg_ha_rules that decided; 0 where none did';
COMMENT ON COLUMN pg_ha_events.action IS 'what was done';
COMMENT ON COLUMN pg_ha_events.what IS 'a sentence';
COMMENT ON COLUMN pg_ha_events.facts IS 'the facts it was decided from';

CREATE VIEW pg_ha_rules AS SELECT * FROM pg_ha_rules_read();
COMMENT ON VIEW pg_ha_rules IS
'the numbered rules; the first whose condition holds decides';
COMMENT ON COLUMN pg_ha_rules.id IS 'as in pg_ha_events.rule and the logs';
COMMENT ON COLUMN pg_ha_rules.section IS 'safety, leader, election, follow, operator, instance not running';
COMMENT ON COLUMN pg_ha_rules.action IS 'what is done';
COMMENT ON COLUMN pg_ha_rules.why IS 'when it applies';

CREATE VIEW pg_ha_metrics AS
SELECT m.name, m.value, m.help
FROM (SELECT pg_ha_status() AS s) AS status,
	LATERAL (SELECT count(*) AS n, count(*) FILTER (WHERE replication_state = 'streaming') AS streaming,
		count(*) FILTER (WHERE pending_restart) AS pending, max(lag_bytes) AS lag FROM pg_ha_members) AS members,
	LATERAL (VALUES
	('leader', ((s->>'leader') = (s->>'name'))::int::numeric, '1: this member leads'),
	('primary', ((s->>'role') = 'primary')::int, '1: this instance is a primary'),
	('fence_open', (s->'fence'->>'state' = 'open')::int, '1: commits are acknowledged'),
	('lease_remaining_ms', (s->'fence'->>'remaining_ms')::numeric, 'of the lease, 0 where it is not held'),
	('commits_refused', (s->'fence'->>'refused')::numeric, 'by the fence, since the start'),
	('commits_waited', (s->'fence'->>'waited')::numeric, 'for the lease, since the start'),
	('connections_cut', (s->'fence'->>'cut')::numeric, 'instead of an acknowledgement, since the start'),
	('term', (s->>'term')::numeric, 'the number of the leadership'),
	('timeline', (s->>'timeline')::numeric, 'of the last WAL here'),
	('lsn_bytes', (s->>'lsn')::pg_lsn - '0/0'::pg_lsn, 'primary: flushed; standby: received'),
	('launcher', (s->>'launcher')::boolean::int, '1: this instance has its launcher'),
	('consul_answers', (s->'consul'->>'answers')::boolean::int, '1: Consul answered the last request'),
	('failsafe_active', (s->>'failsafe_active')::boolean::int, '1: the lease runs by the members'' word'),
	('paused', (s->>'paused')::boolean::int, '1: maintenance mode'),
	('members', members.n, 'with a member key'),
	('members_streaming', members.streaming, 'from the leader'),
	('members_pending_restart', members.pending, 'with settings that wait for a restart'),
	('lag_bytes_max', members.lag, 'of the member that is furthest behind'),
	('can_lose_members', (s->'can_lose'->>'members')::numeric, 'further members, before nobody leads'),
	('can_lose_consul_servers', (s->'can_lose'->>'consul_servers')::numeric, 'further Consul servers, before it has no majority')
	) AS m(name, value, help);
COMMENT ON VIEW pg_ha_metrics IS
'numbers for monitoring, of this member and of the cluster as it sees it; null: not known';
COMMENT ON COLUMN pg_ha_metrics.name IS 'what it is';
COMMENT ON COLUMN pg_ha_metrics.value IS 'its value now';
COMMENT ON COLUMN pg_ha_metrics.help IS 'what it means';

-- commands; those that change something are for superusers until granted

CREATE FUNCTION pg_ha_show_config() RETURNS jsonb
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_show_config_sql';
COMMENT ON FUNCTION pg_ha_show_config() IS
'the configuration of the whole cluster, as entered';
REVOKE ALL ON FUNCTION pg_ha_show_config() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_ha_show_config() TO pg_monitor;

CREATE FUNCTION pg_ha_edit_config(patch jsonb, dry_run boolean DEFAULT false,
	OUT path text, OUT old jsonb, OUT new jsonb, OUT needs_restart boolean)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_edit_config_sql';
COMMENT ON FUNCTION pg_ha_edit_config(jsonb, boolean) IS
'change the configuration of the whole cluster by a merge patch (RFC 7396: null deletes); one row for each path that changes; with dry_run only checked and shown';
REVOKE ALL ON FUNCTION pg_ha_edit_config(jsonb, boolean) FROM PUBLIC;

CREATE FUNCTION pg_ha_set_config(config jsonb, dry_run boolean DEFAULT false,
	OUT path text, OUT old jsonb, OUT new jsonb, OUT needs_restart boolean)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_set_config_sql';
COMMENT ON FUNCTION pg_ha_set_config(jsonb, boolean) IS
'replace the configuration of the whole cluster; one row for each path that changes; with dry_run only checked and shown';
REVOKE ALL ON FUNCTION pg_ha_set_config(jsonb, boolean) FROM PUBLIC;

CREATE FUNCTION pg_ha_pause() RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_pause_sql';
COMMENT ON FUNCTION pg_ha_pause() IS
'maintenance mode: nobody takes over, and commits need no lease; true when the leader has confirmed it, false when it has not within 10 s';
REVOKE ALL ON FUNCTION pg_ha_pause() FROM PUBLIC;

CREATE FUNCTION pg_ha_resume() RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_resume_sql';
COMMENT ON FUNCTION pg_ha_resume() IS
'end maintenance mode; true when the leader has confirmed it, false when it has not within 10 s';
REVOKE ALL ON FUNCTION pg_ha_resume() FROM PUBLIC;

CREATE FUNCTION pg_ha_wait_for(condition text, timeout interval DEFAULT '60 s')
RETURNS boolean
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_wait_for_sql';
COMMENT ON FUNCTION pg_ha_wait_for(text, interval) IS
'wait for a condition of the cluster: leader, leader(NAME), member_streaming(NAME), nothing_pending, healthy; true, or an error that says what is missing';
REVOKE ALL ON FUNCTION pg_ha_wait_for(text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_ha_wait_for(text, interval) TO pg_monitor;

REVOKE ALL ON pg_ha_members, pg_ha_pending_restart, pg_ha_history, pg_ha_events, pg_ha_rules FROM PUBLIC;

-- steering; what would end the calling session is a job that goes on without it

CREATE VIEW pg_ha_jobs AS
SELECT j.* FROM jsonb_to_recordset(pg_ha_document('jobs')) AS j(
	id text, kind text, state text, asked_by text, asked_at timestamptz,
	scheduled_at timestamptz, finished_at timestamptz, message text,
	members jsonb, result jsonb)
ORDER BY j.id;
COMMENT ON VIEW pg_ha_jobs IS
'what was asked of the cluster and outlives a session: switchovers, failovers by hand, restarts; the last 20 that ended, and all others';
COMMENT ON COLUMN pg_ha_jobs.id IS 'for pg_ha_wait_for_job and pg_ha_cancel';
COMMENT ON COLUMN pg_ha_jobs.kind IS 'switchover, failover or restart';
COMMENT ON COLUMN pg_ha_jobs.state IS 'scheduled, running, done, failed or cancelled';
COMMENT ON COLUMN pg_ha_jobs.asked_by IS 'the member it was asked of';
COMMENT ON COLUMN pg_ha_jobs.asked_at IS 'when';
COMMENT ON COLUMN pg_ha_jobs.scheduled_at IS 'not before; null: at once';
COMMENT ON COLUMN pg_ha_jobs.finished_at IS 'when it ended';
COMMENT ON COLUMN pg_ha_jobs.message IS 'how far it is, or how it ended';
COMMENT ON COLUMN pg_ha_jobs.members IS 'of a restart: each member and whether it is todo, asked, done or skipped';
COMMENT ON COLUMN pg_ha_jobs.result IS 'of a change of the leader: old and new leader, timeline, where it begins, milliseconds without writes';

CREATE FUNCTION pg_ha_switchover(candidate text DEFAULT NULL,
	scheduled_at timestamptz DEFAULT NULL, timeout interval DEFAULT '5 min',
	OUT job text, OUT state text, OUT old_leader text, OUT new_leader text,
	OUT timeline int, OUT lsn pg_lsn, OUT ms_without_writes numeric)
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_switchover_sql';
COMMENT ON FUNCTION pg_ha_switchover(text, timestamptz, interval) IS
'hand the lead over, to the candidate or to whoever is fittest; timeout is for the checkpoint before it; called on the leader it returns the job before the session is cut, elsewhere when it is done';
REVOKE ALL ON FUNCTION pg_ha_switchover(text, timestamptz, interval) FROM PUBLIC;

CREATE FUNCTION pg_ha_failover(candidate text, force boolean DEFAULT false,
	timeout interval DEFAULT '5 min',
	OUT job text, OUT state text, OUT old_leader text, OUT new_leader text,
	OUT timeline int, OUT lsn pg_lsn, OUT ms_without_writes numeric)
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_failover_sql';
COMMENT ON FUNCTION pg_ha_failover(text, boolean, interval) IS
'make the candidate lead, also when nobody leads; what it lacks of the last leader''s WAL is lost, and said before unless forced';
REVOKE ALL ON FUNCTION pg_ha_failover(text, boolean, interval) FROM PUBLIC;

CREATE FUNCTION pg_ha_restart(member text DEFAULT NULL,
	pending_only boolean DEFAULT false, role text DEFAULT NULL,
	server_version_below text DEFAULT NULL,
	scheduled_at timestamptz DEFAULT NULL, timeout interval DEFAULT '5 min',
	OUT job text, OUT state text, OUT message text, OUT members jsonb)
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_restart_sql';
COMMENT ON FUNCTION pg_ha_restart(text, boolean, text, text, timestamptz, interval) IS
'restart a member, or all: standbys first and one at a time, each awaited healthy for up to timeout, the leader last and in place';
REVOKE ALL ON FUNCTION pg_ha_restart(text, boolean, text, text, timestamptz, interval) FROM PUBLIC;

CREATE FUNCTION pg_ha_reload(member text) RETURNS boolean
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_reload_sql';
COMMENT ON FUNCTION pg_ha_reload(text) IS
'have a member read its node settings anew; true when its launcher has begun';
REVOKE ALL ON FUNCTION pg_ha_reload(text) FROM PUBLIC;

CREATE FUNCTION pg_ha_reinit(member text, force boolean DEFAULT false)
RETURNS boolean
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_reinit_sql';
COMMENT ON FUNCTION pg_ha_reinit(text, boolean) IS
'have a member copy the leader anew; true when its launcher has begun, pg_ha_members.state shows how far it is; forced, it ends what the launcher is at';
REVOKE ALL ON FUNCTION pg_ha_reinit(text, boolean) FROM PUBLIC;

CREATE FUNCTION pg_ha_cancel(job text) RETURNS boolean
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_cancel_sql';
COMMENT ON FUNCTION pg_ha_cancel(text) IS
'take back a job: a switchover that has not begun, a restart before its next member';
REVOKE ALL ON FUNCTION pg_ha_cancel(text) FROM PUBLIC;

CREATE FUNCTION pg_ha_wait_for_job(job text, timeout interval DEFAULT '5 min',
	OUT id text, OUT kind text, OUT state text, OUT message text, OUT result jsonb)
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'pg_ha_wait_for_job_sql';
COMMENT ON FUNCTION pg_ha_wait_for_job(text, interval) IS
'wait until a job has ended, on any member; an error if it did not end well';
REVOKE ALL ON FUNCTION pg_ha_wait_for_job(text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_ha_wait_for_job(text, interval) TO pg_monitor;

GRANT SELECT ON pg_ha_members, pg_ha_pending_restart, pg_ha_history, pg_ha_events, pg_ha_rules, pg_ha_metrics, pg_ha_jobs TO pg_monitor;
