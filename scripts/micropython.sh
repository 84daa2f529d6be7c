#!/bin/sh
# Make tests/micropython/node_modules hold what its lock says. Does nothing when it does.
set -eu
cd "$(dirname "$0")/../tests/micropython"
if ! cmp -s package-lock.json node_modules/busbar-lock; then
    npm ci --loglevel=error --no-audit --no-fund --ignore-scripts
    cp package-lock.json node_modules/busbar-lock
fi
