CREATE TABLE api_tokens (
    id text PRIMARY KEY,
    customer_id text NOT NULL REFERENCES customers,
    digest bytea NOT NULL,
    expires_at timestamptz NOT NULL
);
