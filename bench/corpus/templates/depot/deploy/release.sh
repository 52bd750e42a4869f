#!/bin/sh
set -eu
env="${1:-staging}"
npm ci
npm test
docker build -t "depot:$env" .
echo "pushing depot:$env"
docker push "registry.example.com/depot:$env"
