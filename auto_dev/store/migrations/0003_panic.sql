-- A panic: nothing of this project runs until a person releases it.
ALTER TABLE projects
    ADD COLUMN panicked_at timestamptz,       -- NULL: no panic
    ADD COLUMN panic_reason text NOT NULL DEFAULT '',
    ADD COLUMN panicked_by text NOT NULL DEFAULT '',
    ADD CONSTRAINT projects_panic CHECK ((panicked_at IS NULL) = (panic_reason = '' AND panicked_by = ''));
