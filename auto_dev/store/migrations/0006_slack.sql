-- Signed requests of Slack that were taken: each counts once, also after a restart. ``digest`` is of the signature;
-- a row is of no use when the request is too old to be taken anyway.
CREATE TABLE slack_requests (
    digest text PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX slack_requests_expired ON slack_requests (expires_at);

-- Delivered messages that still ask something: few at any time.
CREATE INDEX outbox_asks ON outbox (project_id, channel) WHERE receipt ? 'asks';
