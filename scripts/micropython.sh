#!/bin/sh
# Make tests/micropython/node_modules and build/micropython/stubs hold what their locks say: the
# runtime, and the stubs of MicroPython cut down to it. Does nothing when they do. Needs .venv.
set -eu
cd "$(dirname "$0")/.."
here=tests/micropython
stubs=build/micropython/stubs

if ! command -v npm >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "busbar: MicroPython runs under Node; install it with: sudo apt-get install nodejs npm" >&2
        exit 1
    fi
    apt-get -qq -o DPkg::Lock::Timeout=300 update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends nodejs npm >/dev/null
fi
if ! cmp -s $here/package-lock.json $here/node_modules/busbar-lock; then
    (cd $here && npm ci --loglevel=error --no-audit --no-fund --ignore-scripts)
    cp $here/package-lock.json $here/node_modules/busbar-lock
fi

mark() {
    cat requirements/micropython.txt $here/package-lock.json $here/stubs.py $here/portability.py
}
if ! mark | cmp -s - $stubs/busbar-lock; then
    rm -rf $stubs
    .venv/bin/python -m pip -qq --disable-pip-version-check install --target $stubs --no-deps \
        --require-hashes --only-binary :all: --requirement requirements/micropython.txt
    .venv/bin/python -m tests.micropython.stubs $stubs
    mark >$stubs/busbar-lock
fi
