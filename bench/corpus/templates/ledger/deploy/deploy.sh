#!/usr/bin/env bash
set -euo pipefail
target="${1:?staging or production}"
image="registry.shop.example/ledger:$(git describe --tags)"
docker build -t "$image" .
docker push "$image"
kubectl --context "$target" set image deployment/ledger ledger="$image"
kubectl --context "$target" rollout status deployment/ledger --timeout=120s
