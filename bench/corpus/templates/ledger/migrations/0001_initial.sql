CREATE TABLE customers (
    id text PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    forgotten_at timestamptz
);

CREATE TABLE invoices (
    id text PRIMARY KEY,
    customer_id text NOT NULL REFERENCES customers,
    amount bigint NOT NULL,
    currency char(3) NOT NULL,
    status text NOT NULL DEFAULT 'draft',
    legacy_number text,
    created_at timestamptz NOT NULL DEFAULT now()
);
