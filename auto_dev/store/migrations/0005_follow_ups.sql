-- Follow-up of open drafts: what a look at the forge found, and the runs that answer it.

CREATE TYPE run_kind AS ENUM (
    'story',      -- works on the story from its beginning
    'follow_up'   -- goes on from what an earlier run published
);
CREATE TYPE follow_up_cause AS ENUM (
    'check',      -- a check of the present head failed
    'remark',     -- somebody who may write to the repository said something
    'moved',      -- what the story is stacked on was merged or rewritten
    'conflict'    -- the pull request cannot be merged any more
);

ALTER TABLE runs
    ADD COLUMN kind run_kind NOT NULL DEFAULT 'story',
    ADD COLUMN purpose text NOT NULL DEFAULT '',           -- of a follow-up, in a person's words
    ADD COLUMN follows text REFERENCES runs,               -- the run whose published work this one goes on from
    ADD COLUMN stacked_on jsonb NOT NULL DEFAULT '[]',     -- [{"story", "branch", "sha"}]: what base_sha was made of
    ADD CONSTRAINT runs_follow_up CHECK ((kind = 'follow_up') = (follows IS NOT NULL));

ALTER TABLE pull_requests
    ADD COLUMN opened_by text REFERENCES runs,             -- the run whose marker its text bears; NULL: run_id
    ADD COLUMN merge_sha text NOT NULL DEFAULT '',         -- the commit that merging it made
    ADD COLUMN ended_by text NOT NULL DEFAULT '',          -- who merged or closed it
    ADD COLUMN ended_at timestamptz;

-- What the last look at a pull request found. By number: a story whose pull request was closed may get another one.
CREATE TABLE pull_watches (
    project_id text NOT NULL,
    number integer NOT NULL,
    story_id text NOT NULL,
    cursor text NOT NULL DEFAULT '',          -- up to where its remarks were taken in; the forge's own words
    head_sha text NOT NULL DEFAULT '',        -- where its branch stood
    checks jsonb NOT NULL DEFAULT '{}',       -- {"failed": […], "known": […], "pending": n, "passed": n, "trouble": ""}
    judged text NOT NULL DEFAULT '',          -- head and base that were last tried for conflicts
    looked_at timestamptz,
    trouble text NOT NULL DEFAULT '',         -- why the last look failed
    tidied_at timestamptz,                    -- when what its story left on this machine was cleared away
    PRIMARY KEY (project_id, number),
    FOREIGN KEY (project_id, story_id) REFERENCES stories
);

-- What asks for a follow-up. Each fact is taken by one run at most: exactly one run answers it.
CREATE TABLE follow_up_facts (
    project_id text NOT NULL,
    number integer NOT NULL,
    key text NOT NULL,                        -- remark:<id>, check:<head>:<name>, moved:<story>:…, conflict:<head>:<base>
    story_id text NOT NULL,
    cause follow_up_cause NOT NULL,
    head_sha text NOT NULL DEFAULT '',        -- of checks and conflicts: they are of this commit only
    data jsonb NOT NULL DEFAULT '{}',
    happened_at timestamptz NOT NULL DEFAULT now(),   -- by the forge's clock
    seen_at timestamptz NOT NULL DEFAULT now(),
    run_id text REFERENCES runs,              -- the run that answers it
    set_aside text NOT NULL DEFAULT '',       -- why no run does, for now
    PRIMARY KEY (project_id, number, key),
    FOREIGN KEY (project_id, story_id) REFERENCES stories
);
CREATE INDEX follow_up_facts_of_run ON follow_up_facts (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX follow_up_facts_waiting ON follow_up_facts (project_id, number) WHERE run_id IS NULL;

-- A follow-up does not take a published story out of review, unless a person has to do something about it.
DROP VIEW story_status;
CREATE VIEW story_status AS
SELECT s.project_id, s.id, s.title, s.path, s.priority, s.tags, s.position, s.ordered_at, s.created_at,
       s.dependencies_left, s.present, s.spec,
       r.id AS run_id, r.status AS run_status, r.phase, r.node, r.progress, r.attempt, r.triggered_by, r.resume_at,
       r.kind AS run_kind,
       p.state AS pull_state, p.number AS pull_number, p.url AS pull_url, p.branch AS pull_branch, p.base AS pull_base,
       r.branch AS run_branch,
       -- Others may build on it in the mode "stacked".
       coalesce(p.state IN ('draft', 'open', 'local') AND s.skipped_at IS NULL
                AND (r.status = 'succeeded' OR r.kind = 'follow_up'), false) AS published,
       CASE
           WHEN s.file_status = 'done' OR p.state = 'merged' THEN 'done'
           WHEN s.skipped_at IS NOT NULL THEN 'skipped'
           WHEN r.status IN ('waiting', 'paused') THEN r.status::text
           WHEN r.status IN ('queued', 'running') AND r.kind = 'story' THEN r.status::text
           WHEN p.state = 'closed' THEN 'skipped'
           WHEN r.status = 'succeeded' OR r.kind = 'follow_up' THEN 'in_review'
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
           WHEN r.status IN ('waiting', 'paused') AND r.kind = 'follow_up' THEN r.purpose || ': ' || r.reason
           WHEN r.status IN ('waiting', 'paused') THEN r.reason
           WHEN r.status IN ('queued', 'running') AND r.kind = 'story' THEN r.reason
           WHEN p.state = 'closed' THEN 'its pull request was closed' || CASE WHEN p.ended_by <> '' THEN ' by ' || p.ended_by ELSE '' END
           WHEN r.status IN ('queued', 'running') THEN r.purpose
           WHEN r.status = 'succeeded' OR r.kind = 'follow_up' THEN coalesce(
               CASE WHEN r.status <> 'succeeded' THEN r.purpose || ': ' || r.status || CASE WHEN r.reason <> '' THEN ', ' || r.reason ELSE '' END END,
               f.said, r.reason)
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
  LEFT JOIN pull_requests p ON p.project_id = s.project_id AND p.story_id = s.id
  LEFT JOIN LATERAL (SELECT CASE WHEN count(*) FILTER (WHERE set_aside = '') > 0 THEN concat_ws(', ',
                                     CASE WHEN bool_or(cause = 'check') THEN 'CI failed' END,
                                     CASE WHEN bool_or(cause = 'remark') THEN 'review comments' END,
                                     CASE WHEN bool_or(cause = 'conflict') THEN 'conflicts with its base' END,
                                     CASE WHEN bool_or(cause = 'moved') THEN 'its base moved' END) || ': a run follows'
                                 ELSE max(set_aside) END AS said
                       FROM follow_up_facts w
                      WHERE w.project_id = p.project_id AND w.number = p.number AND w.run_id IS NULL) f ON true;
