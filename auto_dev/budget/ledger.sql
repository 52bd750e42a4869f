-- The ledger. Three rules hold at every commit:
--   spent + overrun of a window = the sum of what its settled reservations were charged;
--   reserved of a window       = the sum of its open reservations;
--   cap of a window            = the greater of its limit and spent + reserved.
-- The limit is the window's latest entry in budget_raises, or what the window was created with.
-- Windows are locked by scope and id, after reservations and never before them: no two transactions can wait for
-- each other. What requests do is in the function ledger_batch (migrations).

-- name: batch
-- Reserves, settles, releases, books, withdraws: see the function. Null: nothing was done, since an alert is due.
SELECT ledger_batch(%(project)s, %(ops)s::jsonb, %(windows)s::jsonb, %(announce)s) AS answer;

-- name: wait_for_batches
-- Until every batch that is under way has ended: a killed client's last one may still be at work in the server.
SELECT pg_advisory_xact_lock(hashtext('auto_dev.ledger'), hashtext(%(project)s));

-- name: open_reservations
SELECT id FROM reservations
 WHERE project_id = %(project)s AND run_id = ANY (%(runs)s) AND status = 'open'
 ORDER BY id;

-- name: open_windows
-- Creates what is missing, in the order in which rows are locked.
INSERT INTO budget_windows (project_id, scope, key, cap_microusd, created_at)
SELECT %(project)s, wanted.scope, wanted.key, wanted.cap, %(now)s
  FROM unnest(%(scopes)s::budget_scope[], %(keys)s::text[], %(caps)s::bigint[]) AS wanted (scope, key, cap)
 ORDER BY wanted.scope, wanted.key
ON CONFLICT (project_id, scope, key) DO NOTHING;

-- name: lock_windows
SELECT w.*
  FROM budget_windows w
  JOIN unnest(%(scopes)s::budget_scope[], %(keys)s::text[]) AS wanted (scope, key) USING (scope, key)
 WHERE w.project_id = %(project)s
 ORDER BY w.scope, w.id
   FOR UPDATE OF w;

-- name: read_windows
SELECT w.*
  FROM budget_windows w
  JOIN unnest(%(scopes)s::budget_scope[], %(keys)s::text[]) AS wanted (scope, key) USING (scope, key)
 WHERE w.project_id = %(project)s
 ORDER BY w.scope, w.id;

-- name: limit_entries
-- The latest entry of a window, and the latest that a person made (which the configuration does not override).
SELECT (SELECT to_microusd FROM budget_raises
         WHERE project_id = %(project)s AND scope = %(scope)s AND key = %(key)s
         ORDER BY id DESC LIMIT 1) AS latest,
       (SELECT to_microusd FROM budget_raises
         WHERE project_id = %(project)s AND scope = %(scope)s AND key = %(key)s AND by <> %(configuration)s
         ORDER BY id DESC LIMIT 1) AS by_person;

-- name: enter_limit
-- Records a new limit of a locked window and brings its cap there, as far as what is in use allows.
WITH entered AS (
    INSERT INTO budget_raises (project_id, scope, key, from_microusd, to_microusd, by, reason, at)
    SELECT project_id, scope, key, %(before)s, %(limit)s, %(by)s, %(reason)s, %(now)s
      FROM budget_windows WHERE id = %(window)s
)
UPDATE budget_windows
   SET cap_microusd = greatest(%(limit)s, spent_microusd + reserved_microusd)
 WHERE id = %(window)s
RETURNING *;

-- name: cost_of_run
SELECT coalesce(sum(charged_microusd), 0)::bigint AS cost
  FROM reservations
 WHERE project_id = %(project)s AND run_id = %(run)s;

-- name: cost_of_run_today
SELECT coalesce(sum(r.charged_microusd), 0)::bigint AS cost
  FROM reservations r
 WHERE r.project_id = %(project)s AND r.run_id = %(run)s
   AND r.windows @> (SELECT array_agg(w.id) FROM budget_windows w
                      WHERE w.project_id = %(project)s AND w.scope = 'day' AND w.key = %(day)s);

-- name: costs_by_story
-- From the windows of the stories, whose sums equal those of their reservations.
SELECT key AS story_id, spent_microusd + overrun_microusd AS cost
  FROM budget_windows
 WHERE project_id = %(project)s AND scope = 'story' AND (%(story)s::text IS NULL OR key = %(story)s)
 ORDER BY key;

-- name: history
SELECT scope, key, cap_microusd, spent_microusd, reserved_microusd, overrun_microusd, alerted_at
  FROM budget_windows
 WHERE project_id = %(project)s AND scope = 'day' AND key >= %(since)s
 ORDER BY key DESC;

-- name: changes
SELECT scope, key, from_microusd, to_microusd, by, reason, at
  FROM budget_raises
 WHERE project_id = %(project)s
 ORDER BY id DESC
 LIMIT %(limit)s;

-- name: finished_runs
-- Stories that an agent finished, with their whole cost (0 where nothing was metered) and the agent that finished
-- them; those that were begun first come first.
SELECT s.id AS story_id, s.tags, (s.spec ->> 'estimate_hours')::float8 AS estimate_hours,
       coalesce(w.spent_microusd + w.overrun_microusd, 0) AS cost, r.agent
  FROM stories s
  JOIN LATERAL (SELECT coalesce(policy -> 'config' -> 'agent' ->> 'kind', '') AS agent, created_at
                  FROM runs
                 WHERE runs.project_id = s.project_id AND runs.story_id = s.id AND status = 'succeeded'
                 ORDER BY attempt DESC
                 LIMIT 1) r ON true
  LEFT JOIN budget_windows w ON w.project_id = s.project_id AND w.scope = 'story' AND w.key = s.id
 WHERE s.project_id = %(project)s
 ORDER BY r.created_at, s.id;

-- name: score
-- The run's last estimate, what its story has cost, and what a minute of it cost.
INSERT INTO estimate_scores AS kept (run_id, project_id, story_id, low_microusd, high_microusd, cost_microusd, minutes,
                                     minute_microusd, scored_at)
SELECT r.id, r.project_id, r.story_id, e.low, e.high, coalesce(w.spent_microusd + w.overrun_microusd, 0), m.minutes,
       m.dear, %(now)s
  FROM runs r
  LEFT JOIN budget_windows w ON w.project_id = r.project_id AND w.scope = 'story' AND w.key = r.story_id
  LEFT JOIN LATERAL (SELECT (data ->> 'low_microusd')::bigint AS low, (data ->> 'high_microusd')::bigint AS high
                       FROM events
                      WHERE run_id = r.id AND kind = 'RUN_ESTIMATED'
                      ORDER BY id DESC
                      LIMIT 1) e ON true
 CROSS JOIN LATERAL (SELECT count(*) AS minutes,
                            coalesce(percentile_disc(0.9) WITHIN GROUP (ORDER BY minute.cost), 0)::bigint AS dear
                       FROM (SELECT sum(charged_microusd) AS cost
                               FROM reservations
                              WHERE run_id = r.id AND project_id = r.project_id AND charged_microusd > 0
                              GROUP BY date_trunc('minute', settled_at)) minute) m
 WHERE r.id = %(run)s AND r.project_id = %(project)s
ON CONFLICT (run_id) DO UPDATE
   SET low_microusd = excluded.low_microusd, high_microusd = excluded.high_microusd,
       cost_microusd = excluded.cost_microusd, minutes = excluded.minutes,
       minute_microusd = excluded.minute_microusd, scored_at = excluded.scored_at;

-- name: estimates
SELECT e.run_id, e.story_id, e.low_microusd, e.high_microusd, e.cost_microusd, e.scored_at
  FROM estimate_scores e JOIN runs r ON r.id = e.run_id
 WHERE e.project_id = %(project)s AND r.status = 'succeeded'
 ORDER BY e.scored_at DESC, e.run_id
 LIMIT %(limit)s;

-- name: usual_minutes
SELECT e.minutes, e.minute_microusd
  FROM estimate_scores e JOIN runs r ON r.id = e.run_id
 WHERE e.project_id = %(project)s AND e.scored_at >= %(since)s AND e.minutes > 0 AND r.status = 'succeeded'
 ORDER BY e.scored_at DESC
 LIMIT 200;
