CREATE TABLE messages (
    id uuid PRIMARY KEY,
    channel text NOT NULL,
    recipient text NOT NULL,
    template text NOT NULL,
    data jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'waiting',
    attempts int NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now()
);
