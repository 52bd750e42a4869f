-- name: summary
-- Everything that a summary tells, in one statement and so from one snapshot. One row; lists are JSON, oldest first.
WITH s AS (
    SELECT v.*, r.ended_at, r.created_at AS run_created_at
      FROM story_status v LEFT JOIN runs r ON r.id = v.run_id
     WHERE v.project_id = %(project)s
), cost AS (
    SELECT story_id, sum(charged_microusd)::bigint AS microusd
      FROM reservations WHERE project_id = %(project)s AND status = 'settled' GROUP BY story_id
)
SELECT p.paused, p.paused_reason,
       (SELECT coalesce(json_agg(json_build_object(
                   'story_id', s.id, 'title', s.title, 'cost_microusd', coalesce(c.microusd, 0),
                   'number', s.pull_number, 'url', coalesce(s.pull_url, ''), 'state', s.pull_state,
                   'branch', coalesce(s.pull_branch, s.run_branch)) ORDER BY s.ended_at, s.id), '[]')
          FROM s LEFT JOIN cost c ON c.story_id = s.id
         WHERE s.run_status = 'succeeded' AND s.status IN ('in_review', 'done')
           AND s.ended_at > %(since)s AND s.ended_at <= %(until)s) AS completed,
       (SELECT count(*) FROM s WHERE s.status = 'in_review' AND coalesce(s.ended_at, '-infinity') <= %(since)s) AS older_in_review,
       (SELECT coalesce(json_agg(json_build_object(
                   'story_id', d.story_id, 'title', t.title, 'decision_id', d.id, 'question', d.question,
                   'why', d.why, 'choices', d.options) ORDER BY d.created_at, d.id), '[]')
          FROM decisions d JOIN stories t ON t.project_id = d.project_id AND t.id = d.story_id
         WHERE d.project_id = %(project)s AND d.status = 'open') AS waiting,
       (SELECT coalesce(json_agg(json_build_object(
                   'story_id', s.id, 'title', s.title, 'reason', s.reason) ORDER BY s.run_created_at, s.id), '[]')
          FROM s WHERE s.status = 'paused') AS paused_stories,
       (SELECT coalesce(json_agg(json_build_object(
                   'story_id', s.id, 'title', s.title, 'reason', s.reason) ORDER BY s.ended_at DESC, s.id), '[]')
          FROM s WHERE s.status = 'failed') AS failed,
       (SELECT coalesce(json_agg(json_build_object(
                   'story_id', s.id, 'title', s.title, 'phase', s.phase, 'progress', s.progress)
                   ORDER BY s.run_created_at, s.id), '[]')
          FROM s WHERE s.run_status = 'running' AND s.status IN ('running', 'in_review')) AS running,
       (SELECT count(*) FROM s WHERE s.status = 'queued') AS queued,
       (SELECT count(*) FROM s WHERE s.status = 'blocked') AS blocked,
       (SELECT count(*) FROM s WHERE s.status = 'invalid') AS invalid,
       (SELECT coalesce(sum(charged_microusd), 0)::bigint FROM reservations
         WHERE project_id = %(project)s AND settled_at > %(since)s AND settled_at <= %(until)s) AS cost_microusd,
       (SELECT json_build_object('cap_microusd', cap_microusd, 'spent_microusd', spent_microusd,
                                 'reserved_microusd', reserved_microusd)
          FROM budget_windows WHERE project_id = %(project)s AND scope = 'day' AND key = %(day)s) AS day,
       (SELECT json_build_object('cap_microusd', cap_microusd, 'spent_microusd', spent_microusd,
                                 'reserved_microusd', reserved_microusd)
          FROM budget_windows WHERE project_id = %(project)s AND scope = 'week' AND key = %(week)s) AS week
  FROM projects p WHERE p.id = %(project)s
