-- who may look
CREATE ROLE regress_nobody;
CREATE ROLE regress_monitor IN ROLE pg_monitor;

SET ROLE regress_nobody;
SELECT pg_ha_status();
SELECT pg_ha_document('members');
SELECT * FROM pg_ha_events_read();
SELECT * FROM pg_ha_rules_read();
SELECT * FROM pg_ha_members;
SELECT * FROM pg_ha_history;
SELECT * FROM pg_ha_events;
SELECT * FROM pg_ha_rules;
SELECT name FROM pg_settings
WHERE name IN ('pg_ha.scope', 'pg_ha.passfile', 'pg_ha.consul_token_file');
RESET ROLE;

SET ROLE regress_monitor;
SELECT pg_ha_status()->>'configured' AS configured;
SELECT count(*) FROM pg_ha_members;
SELECT count(*) FROM pg_ha_history;
SELECT count(*) FROM pg_ha_events;
SELECT count(*) > 0 AS rules FROM pg_ha_rules;
RESET ROLE;

DROP ROLE regress_nobody;
DROP ROLE regress_monitor;
