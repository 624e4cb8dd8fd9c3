#!/usr/bin/env bash
# Programs that tests use: Chromium for the status page, promtool for the alert rules.
#
#   tests/tools.sh install   installs missing programs from Debian packages
#
# Only promtool is unpacked from the Prometheus package, below target/, because the package starts a server.
set -euo pipefail
cd "$(dirname "$0")/.."

hint="as root: apt-get install --no-install-recommends chromium"
tools=target/test-tools

fail() { printf 'tests/tools.sh: %s\n' "$*" >&2; exit 1; }

apt() { "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >&2; }

install() {
    local chromium promtool
    chromium=$(command -v chromium || true)
    promtool=$(command -v promtool || command -v "$tools/usr/bin/promtool" || true)
    [[ -z $chromium || -z $promtool ]] || return 0
    [[ -n $(command -v apt-get) ]] || fail "not installed, and there is no apt-get to do it; $hint"
    as=()
    if ((EUID)); then
        [[ -n $(command -v sudo) ]] || fail "not installed, and only root may; $hint"
        as=(sudo)
    fi
    printf 'installing chromium and promtool\n' >&2
    apt update || true
    [[ -n $chromium ]] || apt install -y --no-install-recommends chromium fonts-dejavu-core || fail "apt-get failed; $hint"
    [[ -n $promtool ]] || unpack prometheus
}

unpack() {
    local folder
    folder=$(mktemp -d)
    (cd "$folder" && apt-get -qq download "$1" >&2) || fail "the package $1 cannot be downloaded"
    mkdir -p "$tools"
    dpkg-deb -x "$folder/$1"_*.deb "$tools"
    rm -r "$folder"
}

case ${1-} in
install) install ;;
*) fail "install" ;;
esac
