-- name: emit_event
-- An append-only fact.
INSERT INTO events (project_id, kind, story_id, run_id, data)
VALUES (%(project)s, %(kind)s, %(story)s, %(run)s, %(data)s)

-- name: wake
-- Wakes the project's daemon; polling stays the truth.
SELECT pg_notify('auto_dev_wake', %(project)s)

-- name: upsert_project
INSERT INTO projects (id, root, state_dir) VALUES (%(project)s, %(root)s, %(state_dir)s)
ON CONFLICT (id) DO UPDATE SET root = excluded.root, state_dir = excluded.state_dir

-- name: get_project
SELECT * FROM projects WHERE id = %(project)s

-- name: hold_project
-- Whether the project is paused, or a panic stands; it stays as it is until this transaction ends.
SELECT paused, panicked_at FROM projects WHERE id = %(project)s FOR SHARE

-- name: limit_changed
-- Whether a limit was changed since then.
SELECT EXISTS (SELECT 1 FROM budget_raises WHERE project_id = %(project)s AND at > %(since)s) AS changed

-- name: lock_project
SELECT id FROM projects WHERE id = %(project)s FOR NO KEY UPDATE

-- name: set_paused
UPDATE projects SET paused = %(paused)s, paused_reason = %(reason)s WHERE id = %(project)s

-- name: declare_panic
-- The first panic stands; no row when one does already.
UPDATE projects SET panicked_at = now(), panic_reason = %(reason)s, panicked_by = %(by)s
 WHERE id = %(project)s AND panicked_at IS NULL
RETURNING *

-- name: lift_panic
UPDATE projects SET panicked_at = NULL, panic_reason = '', panicked_by = '' WHERE id = %(project)s

-- name: revoke_active_leases
-- Takes every story that is worked on from its owner. Before the runs, as everybody who holds both locks them.
WITH locked AS MATERIALIZED (
    SELECT l.story_id FROM leases l
     WHERE l.project_id = %(project)s
       AND EXISTS (SELECT 1 FROM runs r WHERE r.project_id = l.project_id AND r.story_id = l.story_id
                      AND r.status IN ('queued', 'running'))
     ORDER BY l.story_id FOR UPDATE)
UPDATE leases l SET owner = NULL, epoch = l.epoch + 1, expires_at = now()
  FROM locked WHERE l.project_id = %(project)s AND l.story_id = locked.story_id

-- name: panic_runs
UPDATE runs SET status = 'paused', reason = %(reason)s, resume_at = NULL
 WHERE project_id = %(project)s AND status IN ('queued', 'running')
RETURNING id, story_id

-- name: held_for
-- Says of a paused run what else holds it, without moving it.
UPDATE runs SET reason = %(reason)s WHERE id = %(run)s AND status = 'paused'

-- name: queued_runs
SELECT id FROM runs WHERE project_id = %(project)s AND status = 'queued' ORDER BY id FOR UPDATE

-- name: recorded_trees
-- Process trees of this project on this boot of this machine, whoever started them.
SELECT p.pid, p.started FROM processes p
 WHERE p.boot_id = %(boot)s
   AND (EXISTS (SELECT 1 FROM runs r WHERE r.id = p.run_id AND r.project_id = %(project)s)
        OR EXISTS (SELECT 1 FROM daemons d WHERE d.id = p.daemon_id AND d.project_id = %(project)s))
 ORDER BY p.pid

-- name: waived_anomalies
-- What a person let pass for one run: by an answer, or by releasing the panic that it caused.
SELECT o ->> 'waives' AS kind
  FROM decisions d, jsonb_array_elements(d.options) AS option (value), LATERAL (SELECT option.value -> 'data' AS o) AS data
 WHERE d.run_id = %(run)s AND d.kind = 'anomaly' AND d.answer = option.value ->> 'id' AND o ->> 'waives' <> ''
UNION
SELECT e.data ->> 'anomaly' FROM events e
 WHERE e.project_id = %(project)s AND e.kind = 'PROJECT_PANIC' AND e.run_id = %(run)s AND e.data ->> 'anomaly' <> ''
   AND EXISTS (SELECT 1 FROM events l WHERE l.project_id = e.project_id AND l.kind = 'PROJECT_RELEASED' AND l.id > e.id)

-- name: own_windows
-- The budget windows of stories and runs, those that cost most first.
SELECT scope, key, cap_microusd, spent_microusd, reserved_microusd, overrun_microusd, alerted_at FROM budget_windows
 WHERE project_id = %(project)s AND scope IN ('story', 'run')
 ORDER BY scope, spent_microusd + overrun_microusd DESC, key

-- name: story_limit
SELECT cap_microusd FROM budget_windows WHERE project_id = %(project)s AND scope = 'story' AND key = %(story)s

-- name: start_daemon
INSERT INTO daemons (id, project_id, host, pid, version) VALUES (%(daemon)s, %(project)s, %(host)s, %(pid)s, %(version)s)

-- name: beat_daemon
UPDATE daemons SET heartbeat_at = now() WHERE id = %(daemon)s

-- name: end_daemon
UPDATE daemons SET ended_at = now() WHERE id = %(daemon)s AND ended_at IS NULL

-- name: end_former_daemons
-- The caller holds this host's lock of the project's state folder, so no other daemon of this host can be alive.
UPDATE daemons SET ended_at = now()
 WHERE project_id = %(project)s AND host = %(host)s AND id <> %(daemon)s AND ended_at IS NULL

-- name: current_daemon
SELECT * FROM daemons WHERE project_id = %(project)s AND ended_at IS NULL ORDER BY started_at DESC LIMIT 1

-- name: lock_stories
-- Locks a project's stories in id order, the order that all multi-row writers use.
SELECT id FROM stories WHERE project_id = %(project)s ORDER BY id FOR UPDATE

-- name: upsert_story
INSERT INTO stories (project_id, id, title, path, priority, tags, file_status, position, spec, digest, problem)
VALUES (%(project)s, %(id)s, %(title)s, %(path)s, %(priority)s, %(tags)s, %(file_status)s, %(position)s, %(spec)s,
        %(digest)s, %(problem)s)
ON CONFLICT (project_id, id) DO UPDATE
   SET title = excluded.title, path = excluded.path, priority = excluded.priority, tags = excluded.tags,
       file_status = excluded.file_status, position = excluded.position, spec = excluded.spec,
       digest = excluded.digest, problem = excluded.problem, present = true
 WHERE (stories.digest, stories.problem, stories.path, stories.position, stories.present)
       IS DISTINCT FROM (excluded.digest, excluded.problem, excluded.path, excluded.position, true)

-- name: mark_absent
-- Stories whose file has gone. They stay known: their runs and pull requests do.
UPDATE stories SET present = false
 WHERE project_id = %(project)s AND present AND NOT (id = ANY (%(ids)s))

-- name: delete_dependencies
-- Edges that no file states any more.
DELETE FROM story_dependencies d
 WHERE d.project_id = %(project)s AND d.story_id = ANY (%(ids)s)
   AND NOT EXISTS (SELECT 1 FROM unnest(%(from_ids)s::text[], %(to_ids)s::text[]) AS e (story_id, depends_on)
                    WHERE e.story_id = d.story_id AND e.depends_on = d.depends_on)

-- name: insert_dependencies
INSERT INTO story_dependencies (project_id, story_id, depends_on)
SELECT %(project)s, e.story_id, e.depends_on
  FROM unnest(%(from_ids)s::text[], %(to_ids)s::text[]) AS e (story_id, depends_on)
ON CONFLICT DO NOTHING

-- name: reconcile_dependencies
-- Recomputes every edge from facts; the counters follow in count_dependencies. A periodic scan repairs what a crash left.
UPDATE story_dependencies d
   SET satisfied = f.satisfied
  FROM (SELECT e.project_id, e.story_id, e.depends_on,
               coalesce(s.status = 'done' OR (%(stacked)s AND s.published), false) AS satisfied
          FROM story_dependencies e
          LEFT JOIN story_status s ON s.project_id = e.project_id AND s.id = e.depends_on
         WHERE e.project_id = %(project)s) f
 WHERE d.project_id = f.project_id AND d.story_id = f.story_id AND d.depends_on = f.depends_on
   AND d.satisfied <> f.satisfied

-- name: count_dependencies
UPDATE stories s
   SET dependencies_left = c.n
  FROM (SELECT st.id, count(d.depends_on) FILTER (WHERE NOT d.satisfied) AS n
          FROM stories st
          LEFT JOIN story_dependencies d ON d.project_id = st.project_id AND d.story_id = st.id
         WHERE st.project_id = %(project)s GROUP BY st.id) c
 WHERE s.project_id = %(project)s AND s.id = c.id AND s.dependencies_left <> c.n

-- name: order_stories
-- An explicit order by a person. Skipped stories stay skipped; an aborted one is ordered anew.
UPDATE stories SET ordered_at = coalesce(ordered_at, clock_timestamp())
 WHERE project_id = %(project)s AND id = ANY (%(ids)s) AND skipped_at IS NULL
RETURNING id

-- name: unorder_story
UPDATE stories SET ordered_at = NULL WHERE project_id = %(project)s AND id = %(story)s

-- name: skip_story
UPDATE stories SET skipped_at = now(), skip_reason = %(reason)s WHERE project_id = %(project)s AND id = %(story)s

-- name: unskip_story
UPDATE stories SET skipped_at = NULL, skip_reason = '' WHERE project_id = %(project)s AND id = %(story)s

-- name: candidates
-- Stories that may start now: ordered, ready, unblocked, not tried since the order. Priority, then age, then place in the folder.
SELECT s.id FROM stories s
 WHERE s.project_id = %(project)s AND s.present AND s.file_status = 'ready' AND s.problem = '' AND s.skipped_at IS NULL
   AND s.ordered_at IS NOT NULL AND s.dependencies_left = 0
   AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.id = s.project_id AND p.panicked_at IS NOT NULL)
   AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.project_id = s.project_id AND r.story_id = s.id
                      AND (r.status <> 'aborted' OR r.created_at >= s.ordered_at))
   AND NOT EXISTS (SELECT 1 FROM pull_requests p WHERE p.project_id = s.project_id AND p.story_id = s.id
                      AND p.state IN ('merged', 'closed'))
 ORDER BY s.priority, coalesce(s.spec ->> 'created_at', ''), s.position, s.id
 LIMIT %(limit)s
   FOR UPDATE OF s SKIP LOCKED

-- name: story_rows
SELECT * FROM story_status WHERE project_id = %(project)s ORDER BY priority, position, id

-- name: story_row
SELECT * FROM story_status WHERE project_id = %(project)s AND id = %(story)s

-- name: insert_run
INSERT INTO runs (id, project_id, story_id, attempt, triggered_by, graph_version, policy, branch, base_branch, hint, kind,
                  purpose, follows)
SELECT %(run)s, %(project)s, %(story)s, coalesce(max(attempt), 0) + 1, %(triggered_by)s, %(graph_version)s, %(policy)s,
       %(branch)s, %(base_branch)s, %(hint)s, %(kind)s, %(purpose)s, %(follows)s
  FROM runs WHERE project_id = %(project)s AND story_id = %(story)s
RETURNING attempt

-- name: get_run
SELECT * FROM runs WHERE id = %(run)s

-- name: latest_run
SELECT * FROM runs WHERE project_id = %(project)s AND story_id = %(story)s ORDER BY attempt DESC LIMIT 1

-- name: lock_run
SELECT * FROM runs WHERE id = %(run)s FOR UPDATE

-- name: transition_run
SELECT transition_run(%(run)s, %(from)s::run_status[], %(to)s::run_status, %(reason)s)

-- name: enter_node
-- Where a run is, with its event, under the lease's fence: one statement, since every node of every run makes it.
WITH fenced AS MATERIALIZED (SELECT fence(%(project)s, %(story)s, %(epoch)s)),
     entered AS (
         UPDATE runs SET node = %(node)s, phase = %(phase)s, progress = greatest(progress, %(progress)s)
           FROM fenced WHERE id = %(run)s)
INSERT INTO events (project_id, kind, story_id, run_id, data)
SELECT %(project)s, 'RUN_STEP', %(story)s, %(run)s,
       jsonb_build_object('node', %(node)s::text, 'phase', %(phase)s::text) FROM fenced

-- name: phases_of_run
-- Where time and money of a run went, in the order of the phases' begin. A step lasts until the next thing that
-- happened to the run: the time in which it waits, is paused or has no daemon is in no phase. What a request costs
-- belongs to the step in which it was made.
WITH marks AS (
         SELECT at, data->>'phase' AS phase, coalesce(lead(at) OVER (ORDER BY at, id), now()) AS until
           FROM events
          WHERE project_id = %(project)s AND run_id = %(run)s
            AND kind IN ('RUN_STEP', 'RUN_STARTED', 'RUN_PAUSED', 'RUN_RESUMED', 'RUN_RECOVERED',
                         'DECISION_OPENED', 'DECISION_ANSWERED'))
SELECT m.phase, sum(extract(epoch FROM m.until - m.at))::float AS seconds, coalesce(sum(r.cost), 0)::bigint AS cost
  FROM marks m
  LEFT JOIN LATERAL (
         SELECT sum(charged_microusd) AS cost FROM reservations
          WHERE run_id = %(run)s AND created_at >= m.at AND created_at < m.until) r ON true
 WHERE m.phase IS NOT NULL
 GROUP BY m.phase
 ORDER BY min(m.at)

-- name: flaky_of_run
-- What failed now and then while the run was worked on, by command.
SELECT data->>'command' AS command, data->'tests' AS tests FROM events
 WHERE project_id = %(project)s AND run_id = %(run)s AND kind = 'TESTS_FLAKY'
 ORDER BY id

-- name: set_base
UPDATE runs SET base_sha = %(base_sha)s, base_branch = %(base_branch)s, stacked_on = %(stacked_on)s WHERE id = %(run)s

-- name: set_head
UPDATE runs SET head_sha = %(head_sha)s WHERE id = %(run)s

-- name: agent_started
UPDATE runs SET agent_started_at = coalesce(agent_started_at, now()) WHERE id = %(run)s

-- name: add_crash
UPDATE runs SET crashes = crashes + 1 WHERE id = %(run)s RETURNING crashes

-- name: clear_crashes
UPDATE runs SET crashes = 0 WHERE id = %(run)s AND crashes > 0

-- name: pause_run
-- The reason says who or what paused it; resume_at is set when it resumes by itself.
UPDATE runs SET status = 'paused', reason = %(reason)s, resume_at = %(resume_at)s
 WHERE id = %(run)s AND status IN ('running', 'queued')

-- name: due_runs
-- Paused runs whose time has come; none while a panic stands.
SELECT id FROM runs
 WHERE project_id = %(project)s AND status = 'paused' AND resume_at <= %(now)s
   AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.id = %(project)s AND p.panicked_at IS NOT NULL)
 ORDER BY id FOR UPDATE SKIP LOCKED

-- name: paused_runs
SELECT id, story_id, reason FROM runs WHERE project_id = %(project)s AND status = 'paused' ORDER BY id FOR UPDATE

-- name: count_active
SELECT count(*) FILTER (WHERE status = 'running') AS running, count(*) FILTER (WHERE status = 'queued') AS queued,
       count(*) FILTER (WHERE status = 'waiting') AS waiting, count(*) FILTER (WHERE status = 'paused') AS paused
  FROM runs WHERE project_id = %(project)s

-- name: orphaned_runs
-- Runs that say they run but whose lease nobody alive holds, or the asking daemon without working on them: it lost the
-- database before it could say how they ended, and goes on prolonging their leases with its others.
SELECT r.id, r.story_id FROM runs r
  JOIN leases l ON l.project_id = r.project_id AND l.story_id = r.story_id
  LEFT JOIN daemons d ON d.id = l.owner
 WHERE r.project_id = %(project)s AND r.status = 'running'
   AND (l.owner IS NULL OR l.expires_at < now() OR d.ended_at IS NOT NULL
        OR (l.owner = %(daemon)s AND NOT (r.id = ANY (%(in_hand)s))))
 ORDER BY r.id FOR UPDATE OF r SKIP LOCKED

-- name: jobless_runs
-- Queued runs without a job that a worker could still take; none while a panic stands, for it would come to nothing.
SELECT r.id FROM runs r
 WHERE r.project_id = %(project)s AND r.status = 'queued'
   AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.id = r.project_id AND p.panicked_at IS NOT NULL)
   AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs j
                    WHERE j.queue_name = %(queue)s AND j.status = 'todo' AND j.args ->> 'run_id' = r.id)
   AND NOT (r.id = ANY (%(in_hand)s))
 ORDER BY r.id FOR UPDATE OF r SKIP LOCKED

-- name: claim_lease
-- A free, expired or dead owner's lease gets a new owner and a new epoch; none while a panic stands. The project's row
-- is held until the claim's commit: a panic comes before it, and is seen, or after it, and finds the run running.
WITH project AS MATERIALIZED (SELECT panicked_at FROM projects WHERE id = %(project)s FOR SHARE)
INSERT INTO leases AS l (project_id, story_id, owner, epoch, expires_at)
SELECT %(project)s, %(story)s, %(daemon)s, 1, now() + make_interval(secs => %(ttl)s)
 WHERE NOT EXISTS (SELECT 1 FROM project WHERE panicked_at IS NOT NULL)
ON CONFLICT (project_id, story_id) DO UPDATE
   SET owner = excluded.owner, epoch = l.epoch + 1, expires_at = excluded.expires_at
 WHERE l.owner IS NULL OR l.owner = excluded.owner OR l.expires_at < now()
    OR EXISTS (SELECT 1 FROM daemons d WHERE d.id = l.owner AND d.ended_at IS NOT NULL)
RETURNING epoch

-- name: renew_leases
UPDATE leases SET expires_at = now() + make_interval(secs => %(ttl)s)
 WHERE owner = %(daemon)s AND project_id = %(project)s
RETURNING story_id, epoch

-- name: release_lease
UPDATE leases SET owner = NULL, expires_at = now()
 WHERE project_id = %(project)s AND story_id = %(story)s AND epoch = %(epoch)s

-- name: revoke_lease
-- A person takes the story away: the present owner's writes no longer land.
UPDATE leases SET owner = NULL, epoch = epoch + 1, expires_at = now() WHERE project_id = %(project)s AND story_id = %(story)s

-- name: held_leases
SELECT story_id FROM leases WHERE project_id = %(project)s AND owner IS NOT NULL AND expires_at > now()

-- name: fence
SELECT fence(%(project)s, %(story)s, %(epoch)s)

-- name: defer_run
-- A job for a worker, made in the transaction that makes the run runnable.
SELECT procrastinate_defer_jobs_v1(ARRAY[
    ROW(%(queue)s, 'run_story', %(priority)s, NULL, NULL, jsonb_build_object('run_id', %(run)s::text), NULL)
]::procrastinate_job_to_defer_v1[])

-- name: forget_lost_jobs
-- Jobs of runs that this daemon does not work on and that were fetched a while ago: their end could not be written.
DELETE FROM procrastinate_jobs j
 WHERE j.queue_name = %(queue)s AND j.status = 'doing' AND NOT (j.args ->> 'run_id' = ANY (%(in_hand)s))
   AND NOT EXISTS (SELECT 1 FROM procrastinate_events e
                    WHERE e.job_id = j.id AND e.type = 'started' AND e.at > now() - interval '1 minute')
   AND NOT EXISTS (SELECT 1 FROM runs r JOIN leases l ON l.project_id = r.project_id AND l.story_id = r.story_id
                    WHERE r.id = j.args ->> 'run_id' AND r.status = 'running' AND l.owner <> %(daemon)s)

-- name: forget_dead_jobs
-- Jobs that a dead worker of this project left as "doing". The run's lease, not the job, says who owns the work.
DELETE FROM procrastinate_jobs j
 WHERE j.queue_name = %(queue)s AND j.status = 'doing'
   AND NOT EXISTS (SELECT 1 FROM runs r JOIN leases l ON l.project_id = r.project_id AND l.story_id = r.story_id
                     LEFT JOIN daemons d ON d.id = l.owner
                    WHERE r.id = j.args ->> 'run_id' AND r.status = 'running'
                      AND l.owner IS NOT NULL AND l.expires_at > now() AND d.ended_at IS NULL)

-- name: record_process
INSERT INTO processes (run_id, pid, started, boot_id, daemon_id)
VALUES (%(run)s, %(pid)s, %(started)s, %(boot)s, %(daemon)s) ON CONFLICT DO NOTHING

-- name: forget_process
DELETE FROM processes WHERE boot_id = %(boot)s AND pid = %(pid)s AND started = %(started)s

-- name: survivors
SELECT p.pid, p.started, p.boot_id FROM processes p
  LEFT JOIN daemons d ON d.id = p.daemon_id
 WHERE d.id IS NULL OR (d.project_id = %(project)s AND d.host = %(host)s AND d.id <> %(daemon)s)

-- name: abandoned_reservations
-- Runs with money set aside that nobody alive works on.
SELECT DISTINCT v.run_id FROM reservations v
 WHERE v.project_id = %(project)s AND v.status = 'open'
   AND NOT EXISTS (SELECT 1 FROM runs r JOIN leases l ON l.project_id = r.project_id AND l.story_id = r.story_id
                     LEFT JOIN daemons d ON d.id = l.owner
                    WHERE r.id = v.run_id AND r.status = 'running'
                      AND l.owner IS NOT NULL AND l.expires_at > now() AND d.ended_at IS NULL)
 ORDER BY v.run_id

-- name: insert_verdict
-- A repeated node writes its verdict again: the last word of one round counts. A waived failure keeps who waived it, in
-- this run or in the one whose work it goes on from.
INSERT INTO verdicts (run_id, gate, round, verdict, route, reason, evidence, advisory, duration_ms, waived_by, waived_reason)
VALUES (%(run)s, %(gate)s, %(round)s, %(verdict)s::verdict, %(route)s, %(reason)s, %(evidence)s, %(advisory)s, %(duration_ms)s,
        (SELECT v.waived_by FROM verdicts v JOIN runs r ON v.run_id IN (r.id, r.follows)
          WHERE r.id = %(run)s AND v.gate = %(gate)s AND v.waived_by IS NOT NULL AND %(verdict)s::verdict = 'waived'
          ORDER BY v.run_id = r.id DESC, v.round DESC LIMIT 1),
        (SELECT v.waived_reason FROM verdicts v JOIN runs r ON v.run_id IN (r.id, r.follows)
          WHERE r.id = %(run)s AND v.gate = %(gate)s AND v.waived_by IS NOT NULL AND %(verdict)s::verdict = 'waived'
          ORDER BY v.run_id = r.id DESC, v.round DESC LIMIT 1))
ON CONFLICT (run_id, gate, round) DO UPDATE
   SET verdict = excluded.verdict, route = excluded.route, reason = excluded.reason, evidence = excluded.evidence,
       advisory = excluded.advisory, duration_ms = excluded.duration_ms, at = now(),
       waived_by = excluded.waived_by, waived_reason = excluded.waived_reason

-- name: waive_verdicts
UPDATE verdicts SET verdict = 'waived', route = 'proceed', waived_by = %(by)s, waived_reason = %(reason)s
 WHERE run_id = %(run)s AND round = %(round)s AND route <> 'proceed'

-- name: accepted_findings
-- A waived verdict accepts each finding in its evidence for the rest of the run, and for those that go on from its work.
WITH RECURSIVE line AS (
    SELECT id, follows FROM runs WHERE id = %(run)s
    UNION
    SELECT r.id, r.follows FROM runs r JOIN line ON r.id = line.follows)
SELECT DISTINCT e.value ->> 'fingerprint' AS fingerprint
  FROM verdicts v JOIN line ON line.id = v.run_id, jsonb_array_elements(v.evidence) AS e (value)
 WHERE v.verdict = 'waived' AND e.value ->> 'fingerprint' <> ''

-- name: open_branches
-- Branches of other stories that are in review, or worked on and not empty any more.
SELECT s.id AS story_id, s.title, s.priority, s.spec ->> 'created_at' AS created_at,
       array(SELECT jsonb_array_elements_text(coalesce(s.spec -> 'depends_on', '[]'))) AS depends_on,
       coalesce(p.branch, r.branch) AS branch, coalesce(p.head_sha, r.head_sha) AS head_sha, p.state, r.stacked_on,
       r.status AS run_status, r.base_sha
  FROM stories s
  LEFT JOIN pull_requests p ON p.project_id = s.project_id AND p.story_id = s.id
  LEFT JOIN LATERAL (SELECT * FROM runs r WHERE r.project_id = s.project_id AND r.story_id = s.id
                      ORDER BY r.attempt DESC LIMIT 1) r ON true
 WHERE s.project_id = %(project)s AND s.id <> %(story)s
   AND (p.state IN ('draft', 'open', 'local')
        OR (p.story_id IS NULL AND r.status IN ('queued', 'running', 'waiting', 'paused')
            AND r.head_sha IS NOT NULL AND r.head_sha IS DISTINCT FROM r.base_sha))
 ORDER BY s.id

-- name: latest_verdicts
SELECT DISTINCT ON (gate) * FROM verdicts WHERE run_id = %(run)s ORDER BY gate, round DESC

-- name: earlier_verdicts
-- What the gates said in the rounds before this one, oldest first.
SELECT * FROM verdicts WHERE run_id = %(run)s AND round < %(round)s ORDER BY round, id

-- name: known_flaky
SELECT command, array_agg(test) AS tests
  FROM (SELECT * FROM flaky_tests WHERE project_id = %(project)s ORDER BY last_seen_at DESC LIMIT 5000) f
 GROUP BY command

-- name: note_flaky
INSERT INTO flaky_tests (project_id, command, test)
SELECT %(project)s, %(command)s, unnest(%(tests)s::text[])
ON CONFLICT (project_id, command, test)
DO UPDATE SET times = flaky_tests.times + 1, last_seen_at = now()

-- name: forget_flaky
DELETE FROM flaky_tests WHERE project_id = %(project)s AND last_seen_at < now() - interval '90 days'

-- name: insert_decision
INSERT INTO decisions (id, project_id, story_id, run_id, key, kind, question, why, evidence, options)
VALUES (%(id)s, %(project)s, %(story)s, %(run)s, %(key)s, %(kind)s, %(question)s, %(why)s, %(evidence)s, %(options)s)
ON CONFLICT (run_id, key) DO NOTHING
RETURNING id

-- name: decision_by_key
SELECT * FROM decisions WHERE run_id = %(run)s AND key = %(key)s

-- name: get_decision
SELECT * FROM decisions WHERE id = %(id)s

-- name: lock_decision
SELECT * FROM decisions WHERE id = %(id)s FOR UPDATE

-- name: open_decisions
SELECT * FROM decisions WHERE project_id = %(project)s AND status = 'open' ORDER BY created_at, id

-- name: closed_decisions
-- What was answered or fell away, the latest first.
SELECT * FROM decisions WHERE project_id = %(project)s AND status <> 'open'
 ORDER BY coalesce(answered_at, created_at) DESC, id LIMIT %(limit)s

-- name: run_decisions
SELECT * FROM decisions WHERE run_id = %(run)s ORDER BY created_at, id

-- name: answer_decision
UPDATE decisions SET status = 'answered', answer = %(answer)s, answer_text = %(text)s, answered_by = %(by)s,
       answered_via = %(via)s, answered_at = now()
 WHERE id = %(id)s AND status = 'open'

-- name: apply_decision
UPDATE decisions SET applied_at = coalesce(applied_at, now()) WHERE id = %(id)s

-- name: cancel_decisions
UPDATE decisions SET status = 'cancelled' WHERE run_id = %(run)s AND status = 'open'

-- name: cancel_shortfall
UPDATE decisions SET status = 'cancelled' WHERE run_id = %(run)s AND status = 'open' AND kind = 'budget'

-- name: upsert_pull
-- A follow-up leaves the marker of the run that it goes on from.
INSERT INTO pull_requests (project_id, story_id, run_id, branch, base, head_sha, state, number, url, title, opened_by)
VALUES (%(project)s, %(story)s, %(run)s, %(branch)s, %(base)s, %(head_sha)s, %(state)s, %(number)s, %(url)s, %(title)s,
        %(opened_by)s)
ON CONFLICT (project_id, story_id) DO UPDATE
   SET run_id = excluded.run_id, branch = excluded.branch, base = excluded.base, head_sha = excluded.head_sha,
       state = excluded.state, number = excluded.number, url = excluded.url, title = excluded.title,
       opened_by = excluded.opened_by, ended_by = '', ended_at = NULL, merge_sha = '', updated_at = now()

-- name: pull_rows
SELECT p.*, s.title AS story_title FROM pull_requests p JOIN stories s ON s.project_id = p.project_id AND s.id = p.story_id
 WHERE p.project_id = %(project)s ORDER BY p.created_at, p.story_id

-- name: get_pull
SELECT * FROM pull_requests WHERE project_id = %(project)s AND story_id = %(story)s

-- name: satisfy_dependency
SELECT satisfy_dependency(%(project)s, %(story)s) AS id

-- name: recent_events
-- Events after the event with the given id, in the order in which they can be read without ever missing one.
SELECT id, project_id, at, kind, story_id, run_id, data FROM events
 WHERE project_id = %(project)s AND xid < pg_snapshot_xmin(pg_current_snapshot())
   AND (xid, id) > (coalesce((SELECT xid FROM events WHERE id = %(after)s), '0'), %(after)s)
   AND (%(story)s::text IS NULL OR story_id = %(story)s)
 ORDER BY xid, id LIMIT %(limit)s

-- name: last_event_id
SELECT id FROM events
 WHERE project_id = %(project)s AND xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid DESC, id DESC LIMIT 1

-- name: recent_failures
-- How many of the latest finished runs failed in a row.
SELECT count(*) AS n FROM runs r
 WHERE r.project_id = %(project)s AND r.status = 'failed'
   AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.project_id = r.project_id AND o.status = 'succeeded' AND o.ended_at > r.ended_at)

-- name: set_hint
UPDATE runs SET hint = %(hint)s WHERE id = %(run)s

-- name: set_criteria
-- A person stated what the story's file does not: this run's copy of the story carries it.
UPDATE runs SET policy = jsonb_set(policy, '{story,acceptance_criteria}', %(criteria)s) WHERE id = %(run)s

-- name: remember_request
-- A signed request counts once: no row for one that was seen before. What is too old to be taken is forgotten.
WITH old AS (DELETE FROM slack_requests WHERE expires_at < %(now)s)
INSERT INTO slack_requests (digest, expires_at) VALUES (%(digest)s, %(until)s) ON CONFLICT DO NOTHING RETURNING digest
