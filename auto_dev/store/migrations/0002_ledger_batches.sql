-- The ledger: everything that waits is done in one transaction, and what estimates were worth is kept.

-- What a run's estimate was worth: written when the run has ended, from its RUN_ESTIMATED event and the ledger.
-- Whether the story was finished by then is the run's own status.
CREATE TABLE estimate_scores (
    run_id text PRIMARY KEY REFERENCES runs,
    project_id text NOT NULL,
    story_id text NOT NULL,
    low_microusd bigint,                      -- NULL: nothing was estimated
    high_microusd bigint,
    cost_microusd bigint NOT NULL,            -- of all runs of the story until then, as in the estimates
    minutes integer NOT NULL,                 -- in which the run paid for something
    minute_microusd bigint NOT NULL,          -- nine out of ten of these minutes cost at most this
    scored_at timestamptz NOT NULL,
    CHECK ((low_microusd IS NULL) = (high_microusd IS NULL))
);
CREATE INDEX estimate_scores_by_project ON estimate_scores (project_id, scored_at DESC);
CREATE INDEX events_estimated ON events (run_id, id) WHERE kind = 'RUN_ESTIMATED';
CREATE INDEX budget_raises_by_window ON budget_raises (project_id, scope, key, id DESC);

-- Does many operations on reservations in one transaction, and says of each what came of it.
--
-- p_ops: [{"n": 1…, "kind", "id", "at", …}] with n counting from 1 without gaps and each id once.
--   reserve   run, story, model, amount, least, w    → {"granted": amount or null, "windows": […] when null}
--   book      run, story, model, cost, usage, note, w, alert_at → {"status": before, "charged", "windows": […]}
--   settle    cost (null: the amount), usage, note, alert_at    → {"status": before, "charged", "freed"}
--   release   note                                              → the same
--   withdraw  run, story, model, amount, note                   → the same; an id that is unknown can then never be
--             reserved ("status": null), or just now was ("status": "raced": to be asked again)
-- p_windows: [{"n": 1…, "scope", "key", "cap"}], created where missing; "w" of an operation lists their n.
-- p_announce: whether the caller will announce alerts in this transaction. If not, and one is due, then nothing is
--   done and the answer is null.
--
-- Locks: reservations by id, then windows by scope and id, then new reservations by id. Two transactions that go by
-- this order cannot wait for each other. What is closed comes first, so that its room can be given out at once.
-- All is decided on locked rows, in memory, and written at the end with one statement per table.
-- The settings keep plans that were made while tables were small from lasting when they have grown.
CREATE FUNCTION ledger_batch(p_project text, p_ops jsonb, p_windows jsonb, p_announce boolean)
RETURNS jsonb LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    op record;
    p integer;
    one bigint;
    room bigint;
    charge bigint;
    lowered bigint;
    closing text[];
    locked text[];              -- those of them that are open
    wanted bigint[];            -- ids of p_windows, by their n
    involved bigint[];
    -- the locked windows
    ids bigint[];
    scopes budget_scope[];
    keys text[];
    caps bigint[];
    spent bigint[];
    held bigint[];
    overrun bigint[];
    alerted timestamptz[];
    was_full boolean[];
    touched boolean[];
    -- by the n of an operation
    charges bigint[] := array_fill(NULL::bigint, ARRAY[jsonb_array_length(p_ops)]);
    grants bigint[] := array_fill(NULL::bigint, ARRAY[jsonb_array_length(p_ops)]);
    results jsonb[] := array_fill(NULL::jsonb, ARRAY[jsonb_array_length(p_ops)]);
    alerts jsonb[] := '{}';
    barring boolean := false;
    places integer[];
BEGIN
    -- Held by every batch until it commits: whoever takes it alone knows that no batch is still under way.
    PERFORM pg_advisory_xact_lock_shared(hashtext('auto_dev.ledger'), hashtext(p_project));

    SELECT array_agg(o.id) INTO closing
      FROM jsonb_to_recordset(p_ops) AS o (kind text, id text)
     WHERE o.kind IN ('settle', 'release', 'withdraw');
    IF closing IS NOT NULL THEN
        SELECT array_agg(l.id) INTO locked
          FROM (SELECT r.id FROM reservations r
                 WHERE r.id = ANY (closing) AND r.project_id = p_project AND r.status = 'open'
                 ORDER BY r.id FOR UPDATE) l;
    END IF;

    FOR p IN 1 .. 2 LOOP
        SELECT array_agg(w.id ORDER BY o.n) INTO wanted
          FROM jsonb_to_recordset(p_windows) AS o (n integer, scope budget_scope, key text)
          LEFT JOIN budget_windows w ON w.project_id = p_project AND w.scope = o.scope AND w.key = o.key;
        EXIT WHEN array_position(wanted, NULL) IS NULL;
        INSERT INTO budget_windows (project_id, scope, key, cap_microusd, created_at)
        SELECT p_project, o.scope, o.key, o.cap, o.at
          FROM jsonb_to_recordset(p_windows) AS o (scope budget_scope, key text, cap bigint, at timestamptz)
         ORDER BY o.scope, o.key
        ON CONFLICT (project_id, scope, key) DO NOTHING;
    END LOOP;

    SELECT array_agg(DISTINCT i.id) INTO involved
      FROM (SELECT unnest(r.windows) AS id
              FROM reservations r
             WHERE r.id = ANY (locked)
             UNION ALL SELECT unnest(wanted)) i;
    SELECT array_agg(l.id), array_agg(l.scope), array_agg(l.key), array_agg(l.cap_microusd),
           array_agg(l.spent_microusd), array_agg(l.reserved_microusd), array_agg(l.overrun_microusd),
           array_agg(l.alerted_at), array_agg(l.spent_microusd + l.reserved_microusd = l.cap_microusd),
           array_agg(false)
      INTO ids, scopes, keys, caps, spent, held, overrun, alerted, was_full, touched
      FROM (SELECT * FROM budget_windows w WHERE w.id = ANY (involved) ORDER BY w.scope, w.id FOR UPDATE) l;
    SELECT array_agg(array_position(ids, i.id) ORDER BY i.n) INTO places
      FROM unnest(wanted) WITH ORDINALITY AS i (id, n);

    -- what is closed
    IF closing IS NOT NULL THEN
        FOR op IN
            SELECT o.*, r.status, r.amount_microusd AS amount, r.charged_microusd AS charged, r.windows
              FROM jsonb_to_recordset(p_ops)
                   AS o (n integer, kind text, id text, at timestamptz, cost bigint, alert_at float8)
              LEFT JOIN reservations r ON r.id = o.id AND r.project_id = p_project
             WHERE o.kind IN ('settle', 'release', 'withdraw')
             ORDER BY o.n
        LOOP
            IF op.status = 'open' AND op.id <> ALL (coalesce(locked, '{}')) THEN
                results[op.n] := jsonb_build_object('status', 'raced', 'charged', NULL, 'freed', 0);
                CONTINUE;
            ELSIF op.status IS DISTINCT FROM 'open' THEN
                results[op.n] := jsonb_build_object('status', op.status, 'charged', op.charged, 'freed', 0);
                barring := barring OR op.kind = 'withdraw' AND op.status IS NULL;
                CONTINUE;
            END IF;
            charge := CASE WHEN op.kind = 'settle' THEN coalesce(op.cost, op.amount) ELSE 0 END;
            FOREACH one IN ARRAY op.windows LOOP
                p := array_position(ids, one);
                held[p] := held[p] - op.amount;
                spent[p] := spent[p] + least(charge, op.amount);
                overrun[p] := overrun[p] + greatest(charge - op.amount, 0);
                touched[p] := true;
                IF op.alert_at IS NOT NULL AND alerted[p] IS NULL AND scopes[p] IN ('day', 'week')
                   AND spent[p] + overrun[p] > 0 AND spent[p] + overrun[p] >= caps[p] * op.alert_at THEN
                    alerted[p] := op.at;
                    alerts := alerts || jsonb_build_object('n', op.n, 'window', jsonb_build_object(
                        'scope', scopes[p], 'key', keys[p], 'cap_microusd', caps[p], 'spent_microusd', spent[p],
                        'reserved_microusd', held[p], 'overrun_microusd', overrun[p]));
                END IF;
            END LOOP;
            charges[op.n] := charge;
            results[op.n] := jsonb_build_object('status', 'open', 'charged', charge, 'freed', op.amount - charge);
        END LOOP;

        -- Caps follow their limit down: one that was lowered below what was in use kept a cap as large as that.
        FOR p IN 1 .. coalesce(cardinality(ids), 0) LOOP
            IF touched[p] AND was_full[p] THEN
                SELECT b.to_microusd INTO lowered
                  FROM budget_raises b
                 WHERE b.project_id = p_project AND b.scope = scopes[p] AND b.key = keys[p]
                 ORDER BY b.id DESC LIMIT 1;
                IF lowered < caps[p] THEN
                    caps[p] := greatest(spent[p] + held[p], lowered);
                END IF;
            END IF;
        END LOOP;
    END IF;

    -- what is set aside, or was spent already
    FOR op IN
        SELECT o.*, r.status, r.charged_microusd AS charged
          FROM jsonb_to_recordset(p_ops)
               AS o (n integer, kind text, id text, at timestamptz, amount bigint, least bigint, cost bigint,
                     alert_at float8, w integer[])
          LEFT JOIN reservations r ON o.kind = 'book' AND r.id = o.id AND r.project_id = p_project
         WHERE o.kind IN ('reserve', 'book')
         ORDER BY o.n
    LOOP
        IF op.kind = 'reserve' THEN
            room := op.amount;
            FOREACH one IN ARRAY op.w LOOP
                p := places[one];
                room := least(room, caps[p] - spent[p] - overrun[p] - held[p]);
            END LOOP;
            IF room >= op.least THEN
                FOREACH one IN ARRAY op.w LOOP
                    p := places[one];
                    held[p] := held[p] + room;
                    touched[p] := true;
                END LOOP;
                grants[op.n] := room;
                results[op.n] := jsonb_build_object('granted', room);
                CONTINUE;
            END IF;
        ELSIF op.status IS NULL THEN
            FOREACH one IN ARRAY op.w LOOP
                p := places[one];
                room := least(op.cost, greatest(caps[p] - spent[p] - overrun[p] - held[p], 0));
                spent[p] := spent[p] + room;
                overrun[p] := overrun[p] + op.cost - room;
                touched[p] := true;
                IF op.alert_at IS NOT NULL AND alerted[p] IS NULL AND scopes[p] IN ('day', 'week')
                   AND spent[p] + overrun[p] > 0 AND spent[p] + overrun[p] >= caps[p] * op.alert_at THEN
                    alerted[p] := op.at;
                    alerts := alerts || jsonb_build_object('n', op.n, 'window', jsonb_build_object(
                        'scope', scopes[p], 'key', keys[p], 'cap_microusd', caps[p], 'spent_microusd', spent[p],
                        'reserved_microusd', held[p], 'overrun_microusd', overrun[p]));
                END IF;
            END LOOP;
            charges[op.n] := op.cost;
        END IF;
        results[op.n] := jsonb_build_object(
            'granted', NULL, 'status', op.status, 'charged', coalesce(op.charged, op.cost),
            'windows', (SELECT jsonb_agg(jsonb_build_object(
                                   'scope', scopes[places[i]], 'key', keys[places[i]],
                                   'cap_microusd', caps[places[i]], 'spent_microusd', spent[places[i]],
                                   'reserved_microusd', held[places[i]], 'overrun_microusd', overrun[places[i]])
                                 ORDER BY scopes[places[i]], ids[places[i]])
                          FROM unnest(op.w) AS i));
    END LOOP;

    IF cardinality(alerts) > 0 AND NOT p_announce THEN
        RETURN NULL;
    END IF;

    UPDATE budget_windows w
       SET cap_microusd = v.cap, spent_microusd = v.spent, reserved_microusd = v.held, overrun_microusd = v.overrun,
           alerted_at = v.alerted
      FROM unnest(ids, caps, spent, held, overrun, alerted, touched)
           AS v (id, cap, spent, held, overrun, alerted, touched)
     WHERE w.id = v.id AND v.touched;
    IF closing IS NOT NULL THEN
        UPDATE reservations r
           SET status = CASE WHEN o.kind = 'settle' THEN 'settled' ELSE 'released' END::reservation_status,
               charged_microusd = CASE WHEN o.kind = 'settle' THEN charges[o.n] END,
               usage = coalesce(o.usage, '{}'),
               note = o.note,
               settled_at = o.at
          FROM jsonb_to_recordset(p_ops)
               AS o (n integer, kind text, id text, at timestamptz, usage jsonb, note text)
         WHERE r.id = o.id AND o.kind IN ('settle', 'release', 'withdraw') AND charges[o.n] IS NOT NULL;
    END IF;
    INSERT INTO reservations (id, project_id, run_id, story_id, model, amount_microusd, charged_microusd, windows,
                              status, usage, note, created_at, settled_at)
    SELECT o.id, p_project, o.run, o.story, o.model, coalesce(grants[o.n], charges[o.n]), charges[o.n],
           ARRAY(SELECT wanted[i] FROM unnest(o.w) AS i),
           CASE WHEN o.kind = 'book' THEN 'settled' ELSE 'open' END::reservation_status,
           coalesce(o.usage, '{}'), coalesce(o.note, ''), o.at, CASE WHEN o.kind = 'book' THEN o.at END
      FROM jsonb_to_recordset(p_ops)
           AS o (n integer, kind text, id text, at timestamptz, run text, story text, model text, usage jsonb,
                 note text, w integer[])
     WHERE o.kind IN ('reserve', 'book') AND coalesce(grants[o.n], charges[o.n]) IS NOT NULL
     ORDER BY o.id;
    IF barring THEN
        FOR op IN
            SELECT * FROM jsonb_to_recordset(p_ops)
                   AS o (n integer, kind text, id text, at timestamptz, run text, story text, model text,
                         amount bigint, note text)
             WHERE o.kind = 'withdraw' AND results[o.n] -> 'status' = 'null'
             ORDER BY o.id
        LOOP
            INSERT INTO reservations (id, project_id, run_id, story_id, model, amount_microusd, windows, status,
                                      note, created_at, settled_at)
            VALUES (op.id, p_project, op.run, op.story, op.model, op.amount, '{}', 'released', op.note, op.at, op.at)
            ON CONFLICT (id) DO NOTHING;
            IF NOT FOUND THEN
                results[op.n] := jsonb_build_object('status', 'raced', 'charged', NULL, 'freed', 0);
            END IF;
        END LOOP;
    END IF;
    RETURN jsonb_build_object('results', to_jsonb(results), 'alerts', to_jsonb(alerts));
END $$;
