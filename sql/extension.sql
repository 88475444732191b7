-- the extension's objects: their shapes, comments and privileges
CREATE EXTENSION pg_ha;

SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relname LIKE 'pg\_ha\_%' AND c.relkind = 'v' AND a.attnum > 0
ORDER BY c.relname, a.attnum;

SELECT p.proname, pg_get_function_arguments(p.oid) AS arguments,
	pg_get_function_result(p.oid) AS result
FROM pg_proc p WHERE p.proname LIKE 'pg\_ha\_%' ORDER BY p.proname;

-- everything has a comment
SELECT d.classid::regclass, pg_describe_object(d.classid, d.objid, 0) AS lacks
FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid
WHERE e.extname = 'pg_ha' AND d.deptype = 'e'
	AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass)
	AND obj_description(d.objid, d.classid::regclass::name) IS NULL;
SELECT c.relname, a.attname AS lacks
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relname LIKE 'pg\_ha\_%' AND c.relkind = 'v' AND a.attnum > 0
	AND col_description(c.oid, a.attnum) IS NULL;

-- nothing is for PUBLIC
SELECT p.proname AS open FROM pg_proc p, aclexplode(coalesce(p.proacl,
	acldefault('f', p.proowner))) a
WHERE p.proname LIKE 'pg\_ha\_%' AND a.grantee = 0;
SELECT c.relname AS open FROM pg_class c, aclexplode(coalesce(c.relacl,
	acldefault('r', c.relowner))) a
WHERE c.relname LIKE 'pg\_ha\_%' AND a.grantee = 0;

-- the rule table is well-formed
SELECT count(*) > 30 AS many, bool_and(id BETWEEN 100 AND 699) AS numbered,
	bool_and(action NOT IN ('', 'unknown')) AS named,
	bool_and(why <> '') AS explained
FROM pg_ha_rules;
SELECT id FROM (SELECT id, lag(id) OVER () AS before FROM pg_ha_rules) r
WHERE id <= before;
SELECT DISTINCT section FROM pg_ha_rules
WHERE section NOT IN ('safety', 'leader', 'election', 'follow', 'operator',
	'instance not running');

-- it is relocatable
CREATE SCHEMA elsewhere;
ALTER EXTENSION pg_ha SET SCHEMA elsewhere;
SELECT count(*) FROM elsewhere.pg_ha_members;
SELECT count(*) FROM elsewhere.pg_ha_events;
ALTER EXTENSION pg_ha SET SCHEMA public;
DROP SCHEMA elsewhere;
