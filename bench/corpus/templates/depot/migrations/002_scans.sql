create table scans (
  id bigserial primary key,
  parcel text not null references parcels,
  warehouse text not null,
  at timestamptz not null default now()
);
create index scans_parcel on scans (parcel, at);
