-- The tables of auto-dev, in schema auto_dev. Facts are stored once; statuses of stories are derived (view story_status).

CREATE TYPE file_status AS ENUM ('backlog', 'ready', 'parked', 'done');

CREATE TYPE run_status AS ENUM (
    'queued',     -- a job is deferred, no worker has it
    'running',    -- a worker holds the lease
    'waiting',    -- a decision is open
    'paused',     -- budget, schedule, operator, stop
    'succeeded',  -- published
    'failed',
    'skipped',    -- a person said so
    'aborted'     -- a person said so
);
CREATE TYPE phase AS ENUM ('prepare', 'plan', 'implement', 'verify', 'review', 'publish');
CREATE TYPE run_trigger AS ENUM ('manual', 'autopilot');
CREATE TYPE verdict AS ENUM ('pass', 'concerns', 'fail', 'waived');
CREATE TYPE route AS ENUM ('proceed', 'repair', 'ask');
CREATE TYPE decision_status AS ENUM ('open', 'answered', 'cancelled');
CREATE TYPE budget_scope AS ENUM ('day', 'week', 'story', 'run');
CREATE TYPE reservation_status AS ENUM (
    'open',      -- set aside, the request may be under way
    'settled',   -- charged with the real usage
    'released'   -- the request was certainly never sent
);
CREATE TYPE pull_state AS ENUM ('draft', 'open', 'merged', 'closed', 'local');

CREATE TABLE projects (
    id text PRIMARY KEY,
    root text NOT NULL,                       -- the user's checkout
    state_dir text NOT NULL,
    paused boolean NOT NULL DEFAULT false,    -- by an operator or by repeated failures
    paused_reason text NOT NULL DEFAULT '',
    autonomous boolean NOT NULL DEFAULT false,
    stop_requested boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE daemons (
    id text PRIMARY KEY,
    project_id text NOT NULL REFERENCES projects,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);

CREATE TABLE stories (
    project_id text NOT NULL REFERENCES projects,
    id text NOT NULL,
    title text NOT NULL,
    path text NOT NULL,                       -- relative to the repository
    priority smallint NOT NULL DEFAULT 3 CHECK (priority BETWEEN 1 AND 5),
    tags text[] NOT NULL DEFAULT '{}',
    file_status file_status NOT NULL,
    position integer NOT NULL DEFAULT 0,      -- order in the folder, the last tie-breaker
    spec jsonb NOT NULL,                      -- the story as read
    digest text NOT NULL,
    problem text NOT NULL DEFAULT '',         -- an error that holds the story back
    present boolean NOT NULL DEFAULT true,    -- false once its file is gone
    ordered_at timestamptz,                   -- an explicit order by a person
    skipped_at timestamptz,
    skip_reason text NOT NULL DEFAULT '',
    dependencies_left integer NOT NULL DEFAULT 0 CHECK (dependencies_left >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, id)
);

CREATE TABLE story_dependencies (
    project_id text NOT NULL,
    story_id text NOT NULL,
    depends_on text NOT NULL,
    satisfied boolean NOT NULL DEFAULT false,
    PRIMARY KEY (project_id, story_id, depends_on),
    FOREIGN KEY (project_id, story_id) REFERENCES stories ON DELETE CASCADE
);
CREATE INDEX story_dependencies_on ON story_dependencies (project_id, depends_on) WHERE NOT satisfied;

CREATE TABLE runs (
    id text PRIMARY KEY,                      -- also the LangGraph thread
    project_id text NOT NULL,
    story_id text NOT NULL,
    attempt integer NOT NULL CHECK (attempt > 0),
    status run_status NOT NULL DEFAULT 'queued',
    reason text NOT NULL DEFAULT '',          -- why it is paused, failed, skipped
    resume_at timestamptz,                    -- a paused run that resumes by itself
    phase phase NOT NULL DEFAULT 'prepare',
    node text NOT NULL DEFAULT '',
    progress smallint NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    triggered_by run_trigger NOT NULL DEFAULT 'manual',
    graph_version text NOT NULL,
    policy jsonb NOT NULL,                    -- the configuration that governs this run
    branch text NOT NULL,
    base_branch text NOT NULL,
    base_sha text NOT NULL DEFAULT '',
    head_sha text NOT NULL DEFAULT '',
    hint text NOT NULL DEFAULT '',            -- what a person added to the brief
    crashes smallint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    agent_started_at timestamptz,             -- first agent process of the run
    ended_at timestamptz,
    FOREIGN KEY (project_id, story_id) REFERENCES stories,
    UNIQUE (project_id, story_id, attempt)
);
CREATE UNIQUE INDEX runs_one_active ON runs (project_id, story_id)
    WHERE status IN ('queued', 'running', 'waiting', 'paused');
CREATE INDEX runs_by_status ON runs (project_id, status);

-- One owner per story, hence per run, worktree and branch. The epoch only rises; a write with an old one is refused.
CREATE TABLE leases (
    project_id text NOT NULL,
    story_id text NOT NULL,
    owner text,                               -- daemons.id; NULL: free
    epoch bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, story_id)
);

-- Process trees that a daemon started, so that the next one can sweep what survived.
CREATE TABLE processes (
    run_id text NOT NULL,
    pid integer NOT NULL,
    started bigint NOT NULL,                  -- clock ticks since boot, from /proc/PID/stat
    boot_id text NOT NULL,
    daemon_id text NOT NULL,
    PRIMARY KEY (boot_id, pid, started)
);

-- Ids are given out before commits: a reader that goes by ids alone misses the event whose transaction commits late.
-- Readers go by (xid, id) and stop below the oldest transaction under way, below which nothing can appear any more.
CREATE TABLE events (
    id bigserial PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    project_id text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL,                       -- TASK_COMPLETED, RUN_STARTED, …
    story_id text,
    run_id text,
    data jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX events_by_project ON events (project_id, xid, id);

CREATE TABLE verdicts (
    id bigserial PRIMARY KEY,
    run_id text NOT NULL REFERENCES runs,
    gate text NOT NULL,
    round smallint NOT NULL,                  -- 0 for the first pass, +1 for each repair
    verdict verdict NOT NULL,
    route route NOT NULL,
    reason text NOT NULL,
    evidence jsonb NOT NULL DEFAULT '[]',
    advisory boolean NOT NULL DEFAULT false,
    waived_by text,
    waived_reason text,
    duration_ms integer NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (run_id, gate, round)
);

CREATE TABLE decisions (
    id text PRIMARY KEY,
    project_id text NOT NULL,
    story_id text NOT NULL,
    run_id text NOT NULL REFERENCES runs,
    key text NOT NULL,                        -- what in the run asked, so that a repeated node asks once
    kind text NOT NULL,
    question text NOT NULL,
    why text NOT NULL DEFAULT '',
    evidence jsonb NOT NULL DEFAULT '[]',
    options jsonb NOT NULL,                   -- [{"id", "label", "action", "recommended", "wants_text", "data"}]
    status decision_status NOT NULL DEFAULT 'open',
    answer text,                              -- an option's id
    answer_text text NOT NULL DEFAULT '',
    answered_by text,
    answered_via text,
    created_at timestamptz NOT NULL DEFAULT now(),
    answered_at timestamptz,
    applied_at timestamptz,                   -- the run took the answer
    UNIQUE (run_id, key),
    CHECK ((status = 'answered') = (answer IS NOT NULL AND answered_at IS NOT NULL))
);
CREATE INDEX decisions_open ON decisions (project_id) WHERE status = 'open';

CREATE TABLE pull_requests (
    project_id text NOT NULL,
    story_id text NOT NULL,
    run_id text NOT NULL REFERENCES runs,
    branch text NOT NULL,
    base text NOT NULL,
    head_sha text NOT NULL,
    state pull_state NOT NULL,
    number integer,
    url text NOT NULL DEFAULT '',
    title text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, story_id)
);

-- Budget: a window is one scope over one stretch of time (day 2026-02-09, week 2026-W07, one story, one run).
CREATE TABLE budget_windows (
    id bigserial PRIMARY KEY,
    project_id text NOT NULL,
    scope budget_scope NOT NULL,
    key text NOT NULL,
    cap_microusd bigint NOT NULL CHECK (cap_microusd >= 0),
    spent_microusd bigint NOT NULL DEFAULT 0 CHECK (spent_microusd >= 0),
    reserved_microusd bigint NOT NULL DEFAULT 0 CHECK (reserved_microusd >= 0),
    overrun_microusd bigint NOT NULL DEFAULT 0 CHECK (overrun_microusd >= 0),  -- billed beyond a reservation, never planned
    alerted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, scope, key),
    CHECK (spent_microusd + reserved_microusd <= cap_microusd)
);

CREATE TABLE reservations (
    id text PRIMARY KEY,
    project_id text NOT NULL,
    run_id text NOT NULL,
    story_id text NOT NULL,
    model text NOT NULL,
    amount_microusd bigint NOT NULL CHECK (amount_microusd >= 0),
    charged_microusd bigint CHECK (charged_microusd >= 0),
    windows bigint[] NOT NULL,                -- budget_windows.id
    status reservation_status NOT NULL DEFAULT 'open',
    usage jsonb NOT NULL DEFAULT '{}',
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    CHECK ((status = 'settled') = (charged_microusd IS NOT NULL))
);
CREATE INDEX reservations_by_run ON reservations (run_id);
CREATE INDEX reservations_open ON reservations (project_id) WHERE status = 'open';

-- What a person raised (or lowered) beyond the configuration, with who and why.
CREATE TABLE budget_raises (
    id bigserial PRIMARY KEY,
    project_id text NOT NULL,
    scope budget_scope NOT NULL,
    key text NOT NULL,
    from_microusd bigint NOT NULL,
    to_microusd bigint NOT NULL,
    by text NOT NULL,
    reason text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT now()
);

-- Messages are written in the transaction that makes the fact, and delivered at least once.
CREATE TABLE outbox (
    id bigserial PRIMARY KEY,
    project_id text NOT NULL,
    channel text NOT NULL,                    -- slack | email
    key text NOT NULL,                        -- the fact: one message per channel and fact
    kind text NOT NULL,                       -- decision | decided | budget_alert | run_failed | pull_request | summary | alert
    payload jsonb NOT NULL,
    urgent boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz,
    delivered_at timestamptz,
    receipt jsonb NOT NULL DEFAULT '{}',      -- Slack ts and channel, SMTP answer
    error text NOT NULL DEFAULT '',
    UNIQUE (project_id, channel, key)
);
CREATE INDEX outbox_due ON outbox (next_attempt_at) WHERE delivered_at IS NULL;

-- Moves a run from one of the given statuses to another; raises when it was in none of them.
CREATE FUNCTION transition_run(p_run text, p_from run_status[], p_to run_status, p_reason text DEFAULT '')
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    now_status run_status;
BEGIN
    UPDATE runs
       SET status = p_to,
           reason = p_reason,
           started_at = CASE WHEN p_to = 'running' THEN coalesce(started_at, now()) ELSE started_at END,
           ended_at = CASE WHEN p_to IN ('succeeded', 'failed', 'skipped', 'aborted') THEN now() END,
           resume_at = CASE WHEN p_to = 'paused' THEN resume_at END
     WHERE id = p_run AND status = ANY (p_from);
    IF NOT FOUND THEN
        SELECT status INTO now_status FROM runs WHERE id = p_run;
        RAISE EXCEPTION 'run % is %, not one of %, and cannot become %', p_run, coalesce(now_status::text, 'unknown'), p_from, p_to
            USING ERRCODE = 'AD001';
    END IF;
END $$;

-- Raises unless the lease still has this epoch; the shared lock holds off a new owner until the caller's commit.
CREATE FUNCTION fence(p_project text, p_story text, p_epoch bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM leases WHERE project_id = p_project AND story_id = p_story AND epoch = p_epoch FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the lease of story % has a newer owner than epoch %', p_story, p_epoch USING ERRCODE = 'AD002';
    END IF;
END $$;

-- Marks a story as a satisfied dependency and returns the stories that this unblocks.
-- A counter, because two parents that finish together would each miss the other in a NOT EXISTS query.
-- Rows are locked in id order, so two parents with common children cannot deadlock.
CREATE FUNCTION satisfy_dependency(p_project text, p_story text)
RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    child text;
    remaining integer;
BEGIN
    FOR child IN
        SELECT s.id FROM stories s
         WHERE s.project_id = p_project
           AND s.id IN (SELECT story_id FROM story_dependencies
                         WHERE project_id = p_project AND depends_on = p_story AND NOT satisfied)
         ORDER BY s.id FOR UPDATE
    LOOP
        UPDATE story_dependencies SET satisfied = true
         WHERE project_id = p_project AND story_id = child AND depends_on = p_story AND NOT satisfied;
        IF FOUND THEN
            UPDATE stories SET dependencies_left = dependencies_left - 1
             WHERE project_id = p_project AND id = child
            RETURNING dependencies_left INTO remaining;
            IF remaining = 0 THEN
                RETURN NEXT child;
            END IF;
        END IF;
    END LOOP;
END $$;

-- Every story with the status that people see, from facts alone.
CREATE VIEW story_status AS
SELECT s.project_id, s.id, s.title, s.path, s.priority, s.tags, s.position, s.ordered_at, s.created_at,
       s.dependencies_left, s.present, s.spec,
       r.id AS run_id, r.status AS run_status, r.phase, r.node, r.progress, r.attempt, r.triggered_by, r.resume_at,
       p.state AS pull_state, p.number AS pull_number, p.url AS pull_url, p.branch AS pull_branch, p.base AS pull_base,
       r.branch AS run_branch,
       CASE
           WHEN s.file_status = 'done' OR p.state = 'merged' THEN 'done'
           WHEN s.skipped_at IS NOT NULL THEN 'skipped'
           WHEN r.status IN ('queued', 'running', 'waiting', 'paused') THEN r.status::text
           WHEN p.state = 'closed' THEN 'skipped'
           WHEN r.status = 'succeeded' THEN 'in_review'
           WHEN r.status = 'failed' THEN 'failed'
           WHEN r.status = 'skipped' THEN 'skipped'
           WHEN s.problem <> '' THEN 'invalid'
           WHEN s.file_status IN ('backlog', 'parked') THEN s.file_status::text
           WHEN s.dependencies_left > 0 THEN 'blocked'
           WHEN s.ordered_at IS NOT NULL AND r.status IS DISTINCT FROM 'aborted' THEN 'queued'
           ELSE 'ready'
       END AS status,
       CASE
           WHEN s.file_status = 'done' OR p.state = 'merged' THEN ''
           WHEN s.skipped_at IS NOT NULL THEN s.skip_reason
           WHEN r.status IN ('queued', 'running', 'waiting', 'paused') THEN r.reason
           WHEN p.state = 'closed' THEN 'its pull request was closed'
           WHEN r.status IS NOT NULL AND r.status <> 'aborted' THEN r.reason
           WHEN s.problem <> '' THEN s.problem
           WHEN s.file_status = 'ready' AND s.dependencies_left > 0 THEN
               'waits for ' || coalesce((SELECT string_agg(d.depends_on, ', ' ORDER BY d.depends_on)
                                           FROM story_dependencies d
                                          WHERE d.project_id = s.project_id AND d.story_id = s.id AND NOT d.satisfied), '?')
           WHEN r.status = 'aborted' THEN r.reason
           ELSE ''
       END AS reason
  FROM stories s
  LEFT JOIN LATERAL (SELECT * FROM runs WHERE runs.project_id = s.project_id AND runs.story_id = s.id
                      ORDER BY attempt DESC LIMIT 1) r ON true
  LEFT JOIN pull_requests p ON p.project_id = s.project_id AND p.story_id = s.id;
