-- name: watched
-- Pull requests to look after, those that were not looked at for longest first: open ones, and closed ones for a while,
-- as a person may open them again.
SELECT p.story_id, p.number, p.state, p.branch, p.base, p.head_sha, p.run_id, r.base_sha,
       coalesce(w.cursor, '') AS cursor, coalesce(w.judged, '') AS judged
  FROM pull_requests p
  JOIN runs r ON r.id = p.run_id
  LEFT JOIN pull_watches w ON w.project_id = p.project_id AND w.number = p.number
 WHERE p.project_id = %(project)s AND p.number IS NOT NULL
   AND (p.state IN ('draft', 'open') OR (p.state = 'closed' AND coalesce(p.ended_at, p.updated_at) > %(closed_since)s))
 ORDER BY w.looked_at NULLS FIRST, p.number

-- name: begin_watch
INSERT INTO pull_watches (project_id, number, story_id) VALUES (%(project)s, %(number)s, %(story)s)
ON CONFLICT DO NOTHING

-- name: lock_watch
-- What was known when the forge was asked, and what is known now; who takes news in holds the row.
SELECT w.cursor, w.head_sha AS seen_sha, p.state, p.base, p.head_sha, p.branch, p.run_id, p.title
  FROM pull_watches w
  JOIN pull_requests p ON p.project_id = w.project_id AND p.number = w.number
 WHERE w.project_id = %(project)s AND w.number = %(number)s
   FOR UPDATE

-- name: set_watch
UPDATE pull_watches SET cursor = %(cursor)s, head_sha = %(head_sha)s, checks = %(checks)s, looked_at = %(now)s, trouble = ''
 WHERE project_id = %(project)s AND number = %(number)s

-- name: set_trouble
UPDATE pull_watches SET trouble = %(trouble)s, looked_at = %(now)s
 WHERE project_id = %(project)s AND number = ANY (%(numbers)s)

-- name: set_judged
UPDATE pull_watches SET judged = %(judged)s WHERE project_id = %(project)s AND number = %(number)s

-- name: add_fact
-- A fact counts once, whoever states it how often.
INSERT INTO follow_up_facts (project_id, number, key, story_id, cause, head_sha, data, happened_at)
VALUES (%(project)s, %(number)s, %(key)s, %(story)s, %(cause)s, %(head_sha)s, %(data)s, coalesce(%(at)s, now()))
ON CONFLICT DO NOTHING
RETURNING key

-- name: drop_outdated
-- Nobody needs to answer checks and conflicts of a commit that is not the head any more, or checks that pass by now.
DELETE FROM follow_up_facts
 WHERE project_id = %(project)s AND number = %(number)s AND run_id IS NULL AND cause IN ('check', 'conflict')
   AND (head_sha <> %(head_sha)s OR (cause = 'check' AND NOT (key = ANY (%(failed)s))))

-- name: drop_conflicts
DELETE FROM follow_up_facts
 WHERE project_id = %(project)s AND number = %(number)s AND run_id IS NULL AND cause = 'conflict'

-- name: drop_all
-- A pull request that is over asks for nothing.
DELETE FROM follow_up_facts WHERE project_id = %(project)s AND number = %(number)s AND run_id IS NULL

-- name: end_pull
UPDATE pull_requests
   SET state = %(state)s, ended_by = %(by)s, ended_at = coalesce(%(at)s, now()), merge_sha = %(merge_sha)s, updated_at = now()
 WHERE project_id = %(project)s AND number = %(number)s AND state <> %(state)s
RETURNING story_id

-- name: reopen_pull
UPDATE pull_requests SET state = %(state)s, ended_by = '', ended_at = NULL, merge_sha = '', updated_at = now()
 WHERE project_id = %(project)s AND number = %(number)s AND state <> %(state)s
RETURNING story_id

-- name: rebase_pull
-- A person moved the pull request to another branch.
UPDATE pull_requests SET base = %(base)s, updated_at = now()
 WHERE project_id = %(project)s AND number = %(number)s AND base <> %(base)s

-- name: active_run
SELECT * FROM runs
 WHERE project_id = %(project)s AND story_id = %(story)s AND status IN ('queued', 'running', 'waiting', 'paused')

-- name: note_moves
-- Open pull requests whose predecessors are all merged have to move. The fact is kept when it is answered, so that a
-- person who ends that run is not asked again.
INSERT INTO follow_up_facts (project_id, number, key, story_id, cause, data)
SELECT p.project_id, p.number, 'moved:' || string_agg(m.story_id || ':' || m.number, ',' ORDER BY m.story_id), p.story_id,
       'moved', jsonb_build_object('merged', jsonb_agg(m.story_id ORDER BY m.story_id))
  FROM pull_requests p
  JOIN runs r ON r.id = p.run_id
  JOIN LATERAL jsonb_array_elements(r.stacked_on) AS s (value) ON true
  LEFT JOIN pull_requests m
         ON m.project_id = p.project_id AND m.story_id = s.value ->> 'story' AND m.state = 'merged'
 WHERE p.project_id = %(project)s AND p.number IS NOT NULL AND p.state IN ('draft', 'open') AND r.stacked_on <> '[]'
 GROUP BY p.project_id, p.number, p.story_id
HAVING bool_and(m.story_id IS NOT NULL)
ON CONFLICT DO NOTHING

-- name: stacked_on
-- Open pull requests that were built on a story's branch, and on which commit of it.
SELECT p.story_id, p.number, s.value ->> 'sha' AS sha
  FROM pull_requests p
  JOIN runs r ON r.id = p.run_id
  JOIN LATERAL jsonb_array_elements(r.stacked_on) AS s (value) ON s.value ->> 'story' = %(story)s
 WHERE p.project_id = %(project)s AND p.number IS NOT NULL AND p.state IN ('draft', 'open')
 ORDER BY p.story_id

-- name: due
-- Published stories that something waits for and that nobody works on; locked for the caller.
SELECT p.story_id, p.number, p.branch, p.base, p.run_id, p.url, coalesce(nullif(w.head_sha, ''), p.head_sha) AS head_sha,
       coalesce(w.checks, '{}') AS checks, s.title AS story_title
  FROM pull_requests p
  JOIN stories s ON s.project_id = p.project_id AND s.id = p.story_id
  LEFT JOIN pull_watches w ON w.project_id = p.project_id AND w.number = p.number
 WHERE p.project_id = %(project)s AND p.state IN ('draft', 'open') AND s.skipped_at IS NULL
   AND EXISTS (SELECT 1 FROM follow_up_facts f
                WHERE f.project_id = p.project_id AND f.number = p.number AND f.run_id IS NULL AND f.set_aside = '')
   AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.project_id = p.project_id AND r.story_id = p.story_id
                      AND r.status IN ('queued', 'running', 'waiting', 'paused'))
 ORDER BY s.priority, p.created_at, p.story_id
   FOR UPDATE OF p SKIP LOCKED

-- name: waiting_facts
SELECT * FROM follow_up_facts
 WHERE project_id = %(project)s AND number = %(number)s AND run_id IS NULL ORDER BY happened_at, key

-- name: attempts
-- Runs in which an agent answered a pull request: ``used`` since a person last said something, ``total`` ever.
WITH answered AS (
    SELECT r.attempt, r.agent_started_at IS NOT NULL AS worked,
           EXISTS (SELECT 1 FROM follow_up_facts x
                    WHERE x.run_id = r.id AND x.cause = 'remark' AND NOT coalesce((x.data ->> 'bot')::boolean, false)) AS spoken
      FROM runs r
     WHERE r.project_id = %(project)s AND r.story_id = %(story)s AND r.kind = 'follow_up'
       AND EXISTS (SELECT 1 FROM follow_up_facts f WHERE f.run_id = r.id AND f.number = %(number)s)
)
SELECT count(*) FILTER (WHERE worked AND attempt >= coalesce((SELECT max(attempt) FROM answered WHERE spoken), 0)) AS used,
       count(*) FILTER (WHERE worked) AS total
  FROM answered

-- name: take_facts
UPDATE follow_up_facts SET run_id = %(run)s, set_aside = ''
 WHERE project_id = %(project)s AND number = %(number)s AND key = ANY (%(keys)s) AND run_id IS NULL

-- name: set_aside
UPDATE follow_up_facts SET set_aside = %(why)s
 WHERE project_id = %(project)s AND number = %(number)s AND key = ANY (%(keys)s) AND run_id IS NULL

-- name: facts_of_run
SELECT * FROM follow_up_facts WHERE run_id = %(run)s ORDER BY happened_at, key

-- name: untidied
-- Merged stories that left something on this machine, and that no open pull request is built on any more.
SELECT p.story_id, p.number, p.branch,
       (SELECT coalesce(array_agg(r.id), '{}') FROM runs r WHERE r.project_id = p.project_id AND r.story_id = p.story_id) AS runs
  FROM pull_requests p
  JOIN pull_watches w ON w.project_id = p.project_id AND w.number = p.number
 WHERE p.project_id = %(project)s AND p.state = 'merged' AND w.tidied_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.project_id = p.project_id AND r.story_id = p.story_id
                      AND r.status IN ('queued', 'running', 'waiting', 'paused'))
   AND NOT EXISTS (SELECT 1 FROM runs r, jsonb_array_elements(r.stacked_on) AS s (value)
                    WHERE r.project_id = p.project_id AND s.value ->> 'story' = p.story_id
                      AND (r.status IN ('queued', 'running', 'waiting', 'paused')
                           OR EXISTS (SELECT 1 FROM pull_requests o WHERE o.run_id = r.id AND o.state IN ('draft', 'open'))))

-- name: set_tidied
UPDATE pull_watches SET tidied_at = %(now)s WHERE project_id = %(project)s AND number = %(number)s

-- name: overview
-- All pull requests with what the last look found; ``reason`` is the story's: what is done about it, or waits.
SELECT p.*, w.checks, w.looked_at, w.trouble, CASE WHEN p.state IN ('draft', 'open') THEN v.reason ELSE '' END AS reason,
       (SELECT count(*) FROM runs r WHERE r.project_id = p.project_id AND r.story_id = p.story_id AND r.kind = 'follow_up') AS follow_ups
  FROM pull_requests p
  JOIN story_status v ON v.project_id = p.project_id AND v.id = p.story_id
  LEFT JOIN pull_watches w ON w.project_id = p.project_id AND w.number = p.number
 WHERE p.project_id = %(project)s
 ORDER BY p.created_at, p.story_id

-- name: pull_states
-- How the pull requests of some stories stand, with the branches of the others.
SELECT story_id, branch, base, head_sha, state, number, merge_sha, ended_at FROM pull_requests WHERE project_id = %(project)s
