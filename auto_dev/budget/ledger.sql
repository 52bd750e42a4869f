-- The ledger. Three rules hold at every commit:
--   spent + overrun of a window = the sum of what its settled reservations were charged;
--   reserved of a window       = the sum of its open reservations;
--   cap of a window            = the greater of its limit and spent + reserved.
-- The limit is the window's latest entry in budget_raises, or what the window was created with.
-- Windows are locked by scope and id, after the reservation and never before it: no two statements can wait for
-- each other.

-- name: reserve
-- Locks the wanted windows and, when all exist and the amount fits into each, sets it aside.
-- A single statement, because a request of a model waits for it: one round trip, one transaction.
-- The UPDATE takes what the CHECK looks at from the locked rows: PostgreSQL first tries it on the version that the
-- statement's snapshot sees, and the CHECK would refuse an amount that only fits since another settled meanwhile.
WITH wanted AS (
    SELECT scope, key FROM unnest(%(scopes)s::budget_scope[], %(keys)s::text[]) AS wanted (scope, key)
), locked AS (
    SELECT w.*
      FROM budget_windows w JOIN wanted USING (scope, key)
     WHERE w.project_id = %(project)s
     ORDER BY w.scope, w.id
       FOR UPDATE OF w
), verdict AS (
    SELECT count(*) = cardinality(%(keys)s::text[])
           AND bool_and(spent_microusd + overrun_microusd + reserved_microusd + %(amount)s::bigint <= cap_microusd)
           AS granted,
           array_agg(id ORDER BY scope, id) AS windows
      FROM locked
), taken AS (
    UPDATE budget_windows w
       SET cap_microusd = locked.cap_microusd,
           spent_microusd = locked.spent_microusd,
           reserved_microusd = locked.reserved_microusd + %(amount)s::bigint
      FROM locked, verdict
     WHERE w.id = locked.id AND verdict.granted
), noted AS (
    INSERT INTO reservations (id, project_id, run_id, story_id, model, amount_microusd, windows, created_at)
    SELECT %(id)s, %(project)s, %(run)s, %(story)s, %(model)s, %(amount)s::bigint, verdict.windows, %(now)s
      FROM verdict
     WHERE verdict.granted
)
SELECT verdict.granted, locked.scope, locked.key, locked.cap_microusd, locked.spent_microusd,
       locked.reserved_microusd, locked.overrun_microusd, locked.alerted_at
  FROM locked, verdict
 ORDER BY locked.scope, locked.id;

-- name: bar_reservation
-- Takes the id of a reservation that may still be on its way to us, so that it can no longer be made.
INSERT INTO reservations (id, project_id, run_id, story_id, model, amount_microusd, windows, status, note,
                          created_at, settled_at)
VALUES (%(id)s, %(project)s, %(run)s, %(story)s, %(model)s, %(amount)s, '{}', 'released',
        'cancelled before it was granted', %(now)s, %(now)s)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: close_reservation
-- Ends an open reservation as settled (without a cost: charged in full) or released, and moves its money.
-- Answers its windows as they are now; no row when it was not open.
WITH closed AS (
    UPDATE reservations
       SET status = %(status)s::reservation_status,
           charged_microusd = CASE WHEN %(status)s = 'settled'
                                   THEN coalesce(%(cost)s::bigint, amount_microusd) END,
           usage = %(usage)s,
           note = %(note)s,
           settled_at = %(now)s
     WHERE id = %(id)s AND project_id = %(project)s AND status = 'open'
    RETURNING amount_microusd AS amount, coalesce(charged_microusd, 0) AS charged, windows
), locked AS (
    SELECT w.id, w.spent_microusd + w.reserved_microusd = w.cap_microusd AS was_full
      FROM budget_windows w JOIN closed ON w.id = ANY (closed.windows)
     ORDER BY w.scope, w.id
       FOR UPDATE OF w
)
UPDATE budget_windows w
   SET reserved_microusd = w.reserved_microusd - closed.amount,
       spent_microusd = w.spent_microusd + least(closed.charged, closed.amount),
       overrun_microusd = w.overrun_microusd + greatest(closed.charged - closed.amount, 0)
  FROM closed, locked
 WHERE w.id = locked.id
RETURNING closed.charged, locked.was_full, w.id, w.scope, w.key, w.cap_microusd, w.spent_microusd,
          w.reserved_microusd, w.overrun_microusd, w.alerted_at;

-- name: shrink_caps
-- Lets the caps of locked windows follow their limit down: one that was lowered below what was in use kept a cap as
-- large as that. A statement of its own, so that it sees every entry of budget_raises that was made before the lock.
UPDATE budget_windows w
   SET cap_microusd = greatest(w.spent_microusd + w.reserved_microusd, latest.to_microusd)
  FROM (SELECT DISTINCT ON (r.scope, r.key) r.scope, r.key, r.to_microusd
          FROM budget_raises r
         WHERE r.project_id = %(project)s
         ORDER BY r.scope, r.key, r.id DESC) latest
 WHERE w.id = ANY (%(windows)s) AND latest.scope = w.scope AND latest.key = w.key
   AND latest.to_microusd < w.cap_microusd;

-- name: mark_alerted
-- At most once per window.
UPDATE budget_windows SET alerted_at = %(now)s WHERE id = %(window)s AND alerted_at IS NULL RETURNING id;

-- name: reservation
SELECT model, created_at, status, charged_microusd
  FROM reservations
 WHERE id = %(id)s AND project_id = %(project)s;

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
-- Stories that an agent finished and that cost something, oldest first: work whose cost nobody metered says nothing about cost.
SELECT s.id AS story_id, s.tags, (s.spec ->> 'estimate_hours')::float8 AS estimate_hours,
       w.spent_microusd + w.overrun_microusd AS cost
  FROM stories s
  JOIN budget_windows w ON w.project_id = s.project_id AND w.scope = 'story' AND w.key = s.id
 WHERE s.project_id = %(project)s
   AND w.spent_microusd + w.overrun_microusd > 0
   AND EXISTS (SELECT 1 FROM runs r
                WHERE r.project_id = s.project_id AND r.story_id = s.id AND r.status = 'succeeded')
 ORDER BY w.created_at, s.id;
