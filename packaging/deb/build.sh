#!/usr/bin/env bash
# Builds the Debian package into target/debian and prints its path. Needs cargo-deb:
#
#   cargo install --locked cargo-deb
#   packaging/deb/build.sh
#
# With `--debug`, which the tests use, it is made in seconds of what `cargo build` or `cargo test` left, and
# is large.
set -euo pipefail
cd "$(dirname "$0")/../.."

profile=release folder=release pack=()
if [[ ${1-} == --debug ]]; then
    profile=dev folder=debug pack=(--fast)
fi
command -v cargo-deb >/dev/null || {
    echo "cargo-deb is not installed: cargo install --locked cargo-deb" >&2
    exit 1
}

if [[ $profile == release ]]; then
    cargo build --locked --release >&2
fi
target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
wellspring=$target/$folder/wellspring

# What the program knows of itself.
generated=target/generated
rm -rf "$generated"
mkdir -p "$generated"
"$wellspring" man --out "$generated/man"
"$wellspring" completions bash >"$generated/wellspring.bash"
"$wellspring" completions zsh >"$generated/_wellspring"
"$wellspring" completions fish >"$generated/wellspring.fish"

cargo deb --quiet --locked --no-build --profile "$profile" --strip "${pack[@]}"
