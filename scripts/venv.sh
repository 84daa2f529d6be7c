#!/bin/sh
# Make .venv hold what requirements/$1.txt locks, and this tree, editable; once per change.
# usage: scripts/venv.sh demo|dev
set -eu
cd "$(dirname "$0")/.."
want=$1

say() {
    echo "busbar: $*" >&2
    exit 1
}

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    for python in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if supported "$python"; then
            return
        fi
    done
    say "Python 3.11, 3.12 or 3.13 is needed; install it with: sudo apt-get install python3" \
        "(or name one: make PYTHON=/path/to/python3.12)"
}

# The place is part of the mark: a virtual environment does not survive a move.
mark() {
    pwd
    cat pyproject.toml "requirements/$1.txt"
}

fresh() {
    [ -x .venv/bin/python ] && mark "$1" | cmp -s - ".venv/busbar-$1"
}

# What dev locks holds all that demo locks.
if fresh "$want" || fresh dev; then
    exit 0
fi

if ! supported .venv/bin/python || ! grep -qsxF "$PWD" .venv/busbar-*; then
    find_python
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        say "Python's venv module is missing; install it with: sudo apt-get install python3-venv"
    "$python" -m venv --clear .venv
fi

echo "busbar: installing requirements/$want.txt into .venv (once per change of it)"
rm -f .venv/busbar-*
pip() {  # twice quiet: errors only
    .venv/bin/python -m pip -qq --disable-pip-version-check install "$@" ||
        say "the set-up of .venv failed; the lines above say why, and the same command tries again"
}
pip --require-hashes --only-binary :all: --requirement "requirements/$want.txt"
pip --no-deps --no-build-isolation --editable .
mark "$want" >".venv/busbar-$want"
