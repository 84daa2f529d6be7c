#!/bin/sh
# Everything CI runs. Stops at the first stage that fails.
#
# Mosquitto, mbpoll and libmodbus with a compiler (strangers to test against), Node (for MicroPython),
# iproute2 with nftables (for a network that fails), mmdebstrap, systemd-nspawn and lintian (for the
# Debian package) are extras: root gets them installed, anyone
# else is told what will be skipped. With CI=true nothing may be skipped.
set -eu
cd "$(dirname "$0")/.."
case ${CI:-} in
    true | 1) export BUSBAR_REQUIRE_ALL=1 ;;
esac

missing_packages() {
    PATH=$PATH:/usr/sbin
    for pair in mosquitto:mosquitto mbpoll:mbpoll node:nodejs npm:npm gcc:gcc \
        ip:iproute2 nft:nftables mmdebstrap:mmdebstrap systemd-nspawn:systemd-container \
        systemd-analyze:systemd lintian:lintian; do
        command -v "${pair%:*}" >/dev/null || echo "${pair#*:}"
    done
    for pair in modbus/modbus.h:libmodbus-dev stdio.h:libc6-dev; do
        [ -e "/usr/include/${pair%:*}" ] || echo "${pair#*:}"
    done
}

install_packages() {
    echo "== system packages: $*"
    apt-get -qq -o DPkg::Lock::Timeout=300 update &&
        DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
            install --no-install-recommends "$@" >/dev/null
}

# What cannot be had is fatal only where all is required; else its tests are skipped, and say why.
optional() {
    "$@" || [ "${BUSBAR_REQUIRE_ALL:-}" != 1 ]
}

# shellcheck disable=SC2046  # a list of package names
set -- $(missing_packages)
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    python3 -c 'import ensurepip' 2>/dev/null || set -- "$@" python3-venv
    [ $# = 0 ] || optional install_packages "$@"
elif [ $# -gt 0 ]; then
    echo "busbar: tests that need $* are skipped; install with: sudo apt-get install $*" >&2
fi

echo "== set-up: Python"
scripts/venv.sh dev
echo "== set-up: strangers"
optional scripts/peers.sh
if command -v npm >/dev/null; then
    echo "== set-up: MicroPython"
    optional scripts/micropython.sh
    # Its other runtimes take a minute to build: here only in CI, else with `make micropython`.
    [ "${BUSBAR_REQUIRE_ALL:-}" != 1 ] || .venv/bin/python -m tests.micropython.build
fi
scripts/lint.sh
echo "== tests: pytest"
exec .venv/bin/python -m pytest
