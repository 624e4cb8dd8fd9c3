#!/usr/bin/env bash
# Tools of the checks, in fixed versions.
#
#   .ci/tools.sh install   installs missing tools: Debian's ShellCheck, and typos, cargo-deny and cargo-shear below target/
#   .ci/tools.sh scripts   prints the shell scripts of the repository
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$PWD/target/ci-tools
crates=(cargo-deny@0.20.2 cargo-shear@1.13.0 cargo-deb@3.8.0)
typos=typos==1.52.0

install_shellcheck() {
    local as=()
    ((EUID == 0)) || as=(sudo)
    "${as[@]}" apt-get -qq update >&2 || true
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        shellcheck python3 python3-venv >&2
}

install() {
    command -v shellcheck >/dev/null || install_shellcheck
    if [[ $("$folder/typos/bin/typos" --version 2>/dev/null) != "typos-cli ${typos#*==}" ]]; then
        python3 -m venv --clear "$folder/typos"
        "$folder/typos/bin/pip" install --quiet --disable-pip-version-check "$typos"
    fi
    # Each tool runs for seconds, so none is optimised. One target folder shares their dependencies.
    CARGO_TARGET_DIR=$folder/build CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 RUSTFLAGS='' \
        cargo install --quiet --locked --root "$folder" "${crates[@]}"
}

scripts() {
    git ls-files -z | xargs -0 grep -lE -m 1 '^#!.*\b(ba)?sh\b'
}

case ${1-} in
install) install ;;
scripts) scripts ;;
*) echo ".ci/tools.sh: install or scripts" >&2 && exit 2 ;;
esac
