#!/bin/sh
# Removes dead messages that are older than ninety days, in small steps.
set -eu
psql "$COURIER_DATABASE" -c "DELETE FROM messages WHERE state = 'dead' AND next_at < now() - interval '90 days'"
