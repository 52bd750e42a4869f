#!/bin/sh
# Only for development: empties the local database.
set -eu
case "$DATABASE_URL" in *localhost*) ;; *) echo "not a local database" >&2; exit 1 ;; esac
psql "$DATABASE_URL" -c 'DROP SCHEMA public CASCADE; CREATE SCHEMA public;'
