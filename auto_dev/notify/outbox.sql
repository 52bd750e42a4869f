-- name: enqueue
-- One row per channel; a fact that is already there is left alone. Rows with a cause are held back a little, so that
-- others of the same cause can join them.
INSERT INTO outbox (project_id, channel, key, kind, payload, urgent, next_attempt_at)
SELECT %(project)s, c, %(key)s, %(kind)s, %(payload)s, %(urgent)s, now() + make_interval(secs => %(hold_s)s)
  FROM unnest(%(channels)s::text[]) AS c
ON CONFLICT (project_id, channel, key) DO NOTHING

-- name: wake
-- The channel on which the project's daemon listens; polling stays the truth.
SELECT pg_notify('auto_dev_wake', %(project)s)

-- name: serialize_claims
-- One claim at a time per project and channel, so that messages of one cause are not split between two claimers.
SELECT pg_advisory_xact_lock(hashtextextended('auto_dev.outbox/' || %(project)s || '/' || %(channel)s, 0))

-- name: drop_stale
-- A question that was answered before anybody saw it is not asked any more. One that may have arrived is looked for, so
-- that it can turn into its answer.
UPDATE outbox o
   SET delivered_at = %(now)s, claimed_until = NULL, error = '', receipt = o.receipt || '{"stale": true}'
  FROM decisions d
 WHERE o.project_id = %(project)s AND o.channel = %(channel)s AND o.kind IN ('decision', 'reminder') AND o.delivered_at IS NULL
   AND o.claimed_until IS NULL AND NOT coalesce((o.receipt ->> 'unconfirmed')::boolean, false)
   AND d.id = o.payload ->> 'decision_id' AND d.status <> 'open'

-- name: claim_lead
-- The next due row. What shares a cause with a message that is under way or was delivered within the window waits, so
-- that one cause makes one message per window. A claim that ran out is due whatever its cause. While it is quiet only
-- what cannot wait is due, and the summary, whose time its owner chose.
SELECT o.* FROM outbox o
 WHERE o.project_id = %(project)s AND o.channel = %(channel)s AND o.delivered_at IS NULL
   AND (o.claimed_until IS NULL OR o.claimed_until <= %(now)s)
   AND (o.next_attempt_at <= %(now)s
        OR (o.attempts = 0 AND (%(flush)s OR coalesce(o.payload ->> 'cause', '') = '')))
   AND (%(flush)s OR o.claimed_until IS NOT NULL OR coalesce(o.payload ->> 'cause', '') = '' OR NOT EXISTS (
         SELECT 1 FROM outbox e
          WHERE e.project_id = o.project_id AND e.channel = o.channel AND e.id <> o.id
            AND e.payload ->> 'cause' = o.payload ->> 'cause'
            AND (e.claimed_until > %(now)s OR e.delivered_at > %(now)s - make_interval(secs => %(window_s)s))))
   AND (NOT %(quiet)s OR o.claimed_until IS NOT NULL OR o.kind = 'summary' OR (o.kind = 'alert' AND o.urgent))
 ORDER BY o.urgent DESC, o.id
 LIMIT 1
   FOR UPDATE SKIP LOCKED

-- name: claim_group
-- Claims the rows that make one message with the lead: those that an earlier attempt joined (so that a repeat is the
-- same message), else what waits with the same cause, due or not. ``held_from`` and ``held_to``: what came up in these
-- quiet hours goes out together; both NULL for a lead that was not held.
UPDATE outbox o
   SET claimed_until = %(until)s, attempts = o.attempts + 1,
       receipt = o.receipt || jsonb_build_object('group', %(group)s::text)
 WHERE o.project_id = %(project)s AND o.channel = %(channel)s AND o.delivered_at IS NULL
   AND (o.claimed_until IS NULL OR o.claimed_until <= %(now)s)
   AND (o.id = %(lead)s
        OR (%(again)s AND o.receipt ->> 'group' = %(group)s)
        OR (NOT %(again)s AND %(cause)s <> '' AND o.payload ->> 'cause' = %(cause)s AND NOT o.receipt ? 'group')
        OR (NOT %(again)s AND o.created_at >= %(held_from)s::timestamptz AND o.created_at < %(held_to)s::timestamptz
            AND o.kind <> 'summary' AND NOT o.receipt ? 'group'))
RETURNING o.*

-- name: context
-- Receipts on this channel that a message refers to: of its story's first message, of what it follows up, of any.
SELECT (SELECT receipt FROM outbox
         WHERE project_id = %(project)s AND channel = %(channel)s AND delivered_at IS NOT NULL
           AND %(story)s <> '' AND receipt ->> 'story' = %(story)s AND receipt ? 'thread'
         ORDER BY delivered_at, id LIMIT 1) AS thread,
       (SELECT receipt FROM outbox
         WHERE project_id = %(project)s AND channel = %(channel)s AND delivered_at IS NOT NULL
           AND key = %(about)s AND receipt ? 'thread') AS about,
       (SELECT receipt FROM outbox
         WHERE project_id = %(project)s AND channel = %(channel)s AND delivered_at IS NOT NULL AND receipt ? 'thread'
         ORDER BY id DESC LIMIT 1) AS latest

-- name: unsettled
-- Delivered messages that still ask for what is closed by now: one row each, with how their decisions ended.
SELECT o.receipt ->> 'group' AS "group", o.receipt,
       (SELECT jsonb_agg(jsonb_build_object('id', d.id, 'status', d.status, 'options', d.options, 'answer', d.answer,
               'answer_text', d.answer_text, 'answered_by', d.answered_by, 'answered_via', d.answered_via,
               'answered_at', d.answered_at))
          FROM decisions d
         WHERE d.project_id = o.project_id AND d.status <> 'open'
           AND ((o.receipt -> 'asks') ? d.id OR coalesce(o.receipt -> 'asked', '[]') ? d.id)) AS closed
  FROM outbox o
 WHERE o.project_id = %(project)s AND o.channel = %(channel)s AND o.delivered_at IS NOT NULL AND o.receipt ? 'asks'
   AND o.id = (SELECT min(f.id) FROM outbox f
                WHERE f.project_id = o.project_id AND f.channel = o.channel AND f.receipt ? 'asks'
                  AND f.receipt ->> 'ts' = o.receipt ->> 'ts')
   AND EXISTS (SELECT 1 FROM decisions d
                WHERE d.project_id = o.project_id AND d.status <> 'open' AND (o.receipt -> 'asks') ? d.id)
 ORDER BY o.id LIMIT 50

-- name: group_items
SELECT kind, payload, created_at FROM outbox
 WHERE project_id = %(project)s AND channel = %(channel)s AND receipt ->> 'group' = %(group)s ORDER BY id

-- name: settled
-- What a message asks for now; a message that asks nothing any more is out of sight.
UPDATE outbox
   SET receipt = CASE WHEN %(asks)s::jsonb = '[]' THEN receipt - 'asks' - 'asked'
                      ELSE receipt || jsonb_build_object('asks', %(asks)s::jsonb, 'asked', %(asked)s::jsonb) END
 WHERE project_id = %(project)s AND channel = %(channel)s AND receipt ->> 'group' = %(group)s AND receipt ? 'asks'

-- name: unsettleable
-- The answer cannot be shown there; a click still says who answered what.
UPDATE outbox SET receipt = receipt - 'asks' - 'asked', error = %(error)s
 WHERE project_id = %(project)s AND channel = %(channel)s AND receipt ->> 'group' = %(group)s AND receipt ? 'asks'

-- name: delivered
UPDATE outbox
   SET delivered_at = %(now)s, claimed_until = NULL, receipt = %(receipt)s, error = %(problem)s
 WHERE id = ANY (%(ids)s) AND delivered_at IS NULL

-- name: failed
-- Only while the claim is still ours: a later owner knows better.
UPDATE outbox
   SET claimed_until = NULL, next_attempt_at = %(next)s, error = %(error)s, receipt = %(receipt)s
 WHERE id = ANY (%(ids)s) AND claimed_until = %(claim)s

-- name: retry_permanent
-- After a start everything that needed mending is tried once more.
UPDATE outbox SET next_attempt_at = %(now)s
 WHERE project_id = %(project)s AND delivered_at IS NULL AND (receipt ->> 'permanent')::boolean
   AND next_attempt_at > %(now)s

-- name: problems
-- What could not be delivered, or not entirely in the last day, one row per channel and error.
SELECT channel, error, count(*)::int AS messages, count(*) FILTER (WHERE delivered_at IS NULL)::int AS waiting,
       min(created_at) AS since, max(attempts) AS attempts,
       min(next_attempt_at) FILTER (WHERE delivered_at IS NULL) AS next_attempt_at,
       bool_or(coalesce((receipt ->> 'permanent')::boolean, false)) AS permanent
  FROM (SELECT o.channel, o.delivered_at, o.created_at, o.attempts, o.next_attempt_at, o.receipt,
               CASE WHEN o.error = '' THEN 'nobody has delivered it for an hour' ELSE o.error END AS error
          FROM outbox o
         WHERE o.project_id = %(project)s
           AND ((o.error <> '' AND (o.delivered_at IS NULL OR o.delivered_at > now() - interval '1 day'))
                OR (o.error = '' AND o.delivered_at IS NULL AND o.created_at < now() - interval '1 hour'))) AS p
 GROUP BY channel, error
 ORDER BY channel, since
