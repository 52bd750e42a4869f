CREATE TABLE refunds (
    id bigserial PRIMARY KEY,
    invoice_id text NOT NULL REFERENCES invoices,
    amount bigint NOT NULL CHECK (amount > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refunds_by_invoice ON refunds (invoice_id);
