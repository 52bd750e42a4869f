create table sessions (
  id text primary key,
  user_name text not null,
  expires timestamptz not null
);
