create table parcels (
  id text primary key,
  sender text not null,
  recipient text not null,
  grams integer not null check (grams > 0),
  status text not null default 'registered',
  carrier_ref text
);
