-- a server that is not configured: loaded, harmless, and says so
SELECT pg_ha_status() - 'hint' AS status;
SELECT count(*) FROM pg_ha_members;
SELECT count(*) FROM pg_ha_history;
SELECT count(*) FROM pg_ha_events;

-- the fence is open
CREATE TABLE written(id int);
INSERT INTO written VALUES (1);
SELECT * FROM written;
DROP TABLE written;

-- nor is ALTER SYSTEM in the way
ALTER SYSTEM SET wal_log_hints = on;
ALTER SYSTEM RESET wal_log_hints;

-- no session, role or database can set a fence setting
SET pg_ha.fence_wait = 0;
ALTER ROLE CURRENT_USER SET pg_ha.fence_wait = 0;
SET pg_ha.managed = off;
SET pg_ha.invented = 1;
SELECT name, context FROM pg_settings WHERE name LIKE 'pg\_ha.fence%' ORDER BY name;

SELECT pg_ha_document('invented');
