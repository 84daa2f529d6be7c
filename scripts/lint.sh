#!/bin/sh
# Style, types and layers. Stops at the first stage that fails.
set -eu
cd "$(dirname "$0")/.."

stage() {
    echo "== $1"
    shift
    "$@"
}

stage "style: ruff check" .venv/bin/ruff check --quiet --output-format=concise .
stage "layout: ruff format" .venv/bin/ruff format --check --quiet .
stage "types: mypy" .venv/bin/mypy
stage "layers: import-linter" .venv/bin/lint-imports --no-cache --no-logo
