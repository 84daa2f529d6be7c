#!/bin/sh
# Resolve requirements/ for Python 3.11 to 3.13 on every platform, with the hash of every published
# file, naming no index. usage: scripts/lock.sh [--upgrade]
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work"
"$work/bin/python" -m pip -qq --disable-pip-version-check install uv==0.13.8

# The build backend is installed from the lock too, so that nothing is fetched unseen.
python3 - >"$work/build-system" <<'END'
import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["build-system"]["requires"], sep="\n")
END

# The stubs of MicroPython shadow the standard library, so they never enter .venv. They go with the
# runtime that tests/micropython/package.json names, or newer.
echo "micropython-rp2-stubs~=1.29.0" >"$work/micropython"
# Its module has the name of the other DL/T 645 library, so it never enters .venv either.
echo "python-dlt645==0.1.4" >"$work/peers"

compile() {
    "$work/bin/uv" --no-config --quiet pip compile --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links "$@"
}
resolve() {
    compile "$@" pyproject.toml "$work/build-system"
}
resolve --extra demo --output-file requirements/demo.txt "$@"
resolve --extra dev --output-file requirements/dev.txt --constraint requirements/demo.txt "$@"
# What the package holds: the releases that were tested, and no build backend.
compile --extra edge --output-file requirements/edge.txt --constraint requirements/demo.txt "$@" \
    pyproject.toml
compile --output-file requirements/micropython.txt "$@" "$work/micropython"
compile --output-file requirements/peers.txt "$@" "$work/peers"
