-- Statements of preflight.py, migrate.py and saver.py: what the server is, what was applied to it, who may write.

-- name: facts
-- One row with all that preflight judges. The right to create counts as given when all schemas are there already.
SELECT current_setting('server_version_num')::int AS version,
       pg_encoding_to_char(d.encoding) AS encoding,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only,
       d.datname AS database,
       current_user::text AS role,
       has_database_privilege(d.datname, 'CREATE') OR 3 = (
           SELECT count(*) FROM pg_namespace
            WHERE nspname IN ('auto_dev', 'auto_dev_checkpoints', 'auto_dev_jobs')
              AND has_schema_privilege(oid, 'CREATE')) AS may_create
  FROM pg_database d
 WHERE d.datname = current_database()

-- name: applied
-- Every applied step, ours and the libraries'. Fails with undefined_table on a new database.
SELECT component, version, name, digest FROM auto_dev.migrations ORDER BY component, version

-- name: lock
-- Asked again and again instead of waited for: a waiting statement holds a snapshot, and CREATE INDEX CONCURRENTLY in
-- the migrating process would wait for that snapshot for ever.
SELECT pg_try_advisory_lock(hashtext('auto_dev.migrations')) AS taken

-- name: unlock
SELECT pg_advisory_unlock(hashtext('auto_dev.migrations'))

-- name: bootstrap
-- The schemas and the record of what was applied. ``component``: auto_dev, auto_dev_checkpoints or auto_dev_jobs, as
-- the schemas; ``name``: our file, procrastinate's file, or the version of LangGraph's package that brought the step.
CREATE SCHEMA IF NOT EXISTS auto_dev;
CREATE SCHEMA IF NOT EXISTS auto_dev_checkpoints;
CREATE SCHEMA IF NOT EXISTS auto_dev_jobs;
CREATE TABLE IF NOT EXISTS auto_dev.migrations (
    component text NOT NULL,
    version integer NOT NULL,
    name text NOT NULL,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (component, version)
)

-- name: record
INSERT INTO auto_dev.migrations (component, version, name, digest)
VALUES (%(component)s, %(version)s, %(name)s, %(digest)s)

-- name: set_search_path
-- For the rest of the transaction, or of the session when ``local`` is false.
SELECT set_config('search_path', %(path)s, %(local)s)

-- name: checkpoint_version
-- What LangGraph's own record says, in the current search_path.
INSERT INTO checkpoint_migrations (v) VALUES (%(version)s) ON CONFLICT DO NOTHING

-- name: rename
-- A later version of the package was seen with the same tables.
UPDATE auto_dev.migrations SET name = %(name)s WHERE component = %(component)s AND version = %(version)s

-- name: finished_threads
-- Threads with checkpoints whose run ended long enough ago.
SELECT r.id AS thread_id
  FROM auto_dev.runs r
 WHERE r.ended_at < now() - make_interval(secs => %(keep_days)s * 86400)
   AND EXISTS (SELECT FROM auto_dev_checkpoints.checkpoints c WHERE c.thread_id = r.id)
 ORDER BY r.ended_at
 LIMIT %(batch)s
