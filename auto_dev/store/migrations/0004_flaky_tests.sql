-- Tests that failed in one run of a command and not in another of the same commit.

CREATE TABLE flaky_tests (
    project_id text NOT NULL REFERENCES projects,
    command text NOT NULL,                    -- the configured command's name
    test text NOT NULL,                       -- as the command's output names it
    times integer NOT NULL DEFAULT 1,         -- how often it was seen to
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, command, test)
);
