-- a server that is not configured: loaded, harmless, and says so
SELECT jsonb_pretty(pg_ha_status());
SELECT count(*) FROM pg_ha_members;
SELECT count(*) FROM pg_ha_history;
SELECT count(*) FROM pg_ha_events;
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_ha worker';
SELECT pg_ha_document('invented');

-- the fence is open
CREATE TABLE written(id int);
INSERT INTO written VALUES (1);
DO $$BEGIN INSERT INTO written VALUES (2); COMMIT; END$$;
BEGIN;
INSERT INTO written VALUES (3);
ROLLBACK;
NOTIFY nobody;
SELECT * FROM written ORDER BY id;
DROP TABLE written;
CREATE DATABASE regress_pg_ha;
DROP DATABASE regress_pg_ha;

-- nor is ALTER SYSTEM in the way
ALTER SYSTEM SET wal_log_hints = on;
ALTER SYSTEM RESET wal_log_hints;
ALTER SYSTEM SET shared_preload_libraries = '';
ALTER SYSTEM RESET shared_preload_libraries;

-- settings are the node's: no session, role or database has its own
SELECT name, context FROM pg_settings
WHERE name LIKE 'pg\_ha.%' AND context NOT IN ('postmaster', 'sighup');
SELECT name, setting, unit, context, vartype FROM pg_settings
WHERE name LIKE 'pg\_ha.fence%' OR name = 'pg_ha.log_level' ORDER BY name;
SET pg_ha.fence_wait = 0;
SET pg_ha.managed = off;
SET pg_ha.scope = 'mine';
SET pg_ha.invented = 1;
ALTER ROLE CURRENT_USER SET pg_ha.fence_wait = 0;
SELECT format('ALTER DATABASE %I SET pg_ha.fence_wait = 0', current_database()) \gexec

-- commands need a cluster
SELECT pg_ha_show_config();
SELECT * FROM pg_ha_edit_config('{"ttl": 10}');
SELECT pg_ha_pause();
