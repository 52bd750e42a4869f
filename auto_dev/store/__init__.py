"""PostgreSQL: the embedded server, the pools, the schema, and the facts that are kept in it."""
