#!/bin/sh
# Make build/python-dlt645 hold what requirements/peers.txt locks: a DL/T 645 master whose module has
# the name of the one in .venv. Does nothing when it does. Needs .venv, whose pyserial it uses.
set -eu
cd "$(dirname "$0")/.."
folder=build/python-dlt645
if ! cmp -s requirements/peers.txt $folder/busbar-lock; then
    rm -rf $folder
    .venv/bin/python -m pip -qq --disable-pip-version-check install --target $folder --no-deps \
        --require-hashes --only-binary :all: --requirement requirements/peers.txt
    cp requirements/peers.txt $folder/busbar-lock
fi
