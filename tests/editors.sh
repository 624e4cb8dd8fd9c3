#!/usr/bin/env bash
# Compares `wellspring fmt` with the common TOML tools of editors. Every example, a fresh `init`, and the
# formatted test files must be valid by the shipped schemas and unchanged by either formatter.
#
#   cargo build && tests/editors.sh
#
# Installs both tools into target/editors if missing. WELLSPRING overrides the path of the program.
set -euo pipefail
cd "$(dirname "$0")/.."

wellspring=${WELLSPRING:-$PWD/target/debug/wellspring}
versions=(taplo==0.9.3 tombi==1.9.6)
place=$PWD/target/editors
if [[ $(cat "$place/installed.txt" 2>/dev/null) != "${versions[*]}" ]]; then
  python3 -m venv --clear "$place"
  "$place/bin/pip" install --quiet --disable-pip-version-check "${versions[@]}"
  echo "${versions[*]}" >"$place/installed.txt"
fi
taplo=$place/bin/taplo
tombi=$place/bin/tombi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export RUST_LOG=error

unmoved() { # DIR: neither formatter changes a file of it
  local files
  mapfile -t files < <(find "$1" -name '*.toml' -not -path '*/.*' | sort)
  for formatter in "$taplo format" "$tombi format --offline --quiet"; do
    rm -rf "$scratch/before" && cp -r "$1" "$scratch/before"
    # Run in another directory, so that no configuration of the tools is found in the files.
    (cd "$scratch" && $formatter "${files[@]}") || return 1
    diff -r "$scratch/before" "$1" || { echo "moved by: $formatter" >&2; return 1; }
  done
}

echo "== examples and a fresh init: schemas"
cp -r examples "$scratch/examples" && cp -r schema "$scratch/schema"
find "$scratch/examples" -name .wellspring -prune -exec rm -rf {} +
"$wellspring" init "$scratch/init" >/dev/null
mapfile -t files < <(find "$scratch/examples" "$scratch/init" -name '*.toml' | sort)
(cd "$scratch" && "$taplo" lint "${files[@]}" && "$tombi" lint --offline --error-on-warnings "${files[@]}")

echo "== mistakes are seen"
cat >"$scratch/init/workspaces/wrong.toml" <<'TOML'
#:schema ../schema/workspace.schema.json

[workspace]
id = "ws"

[sources.a]
type = "file"
protekt = true
TOML
(cd "$scratch" && ! "$taplo" lint init/workspaces/wrong.toml >/dev/null 2>&1 &&
  ! "$tombi" lint --offline init/workspaces/wrong.toml >/dev/null 2>&1)
rm "$scratch/init/workspaces/wrong.toml"

echo "== examples and a fresh init: formatters"
for tree in "$scratch"/examples/* "$scratch/init"; do
  "$wellspring" fmt --check "$tree"
  unmoved "$tree"
done

echo "== test files, formatted by us: formatters"
cp -r tests/it/config/cases "$scratch/cases"
cp -r tests/it/config/format "$scratch/cases/format"
"$wellspring" fmt "$scratch/cases" >/dev/null 2>&1 || true
# Files with errors are not formatted, so do not compare them.
{ "$wellspring" fmt --check --format json "$scratch/cases" 2>/dev/null || true; } |
  python3 -c 'import json,sys; print("\n".join(json.load(sys.stdin)["left_as_is"]))' |
  while read -r file; do rm -f "$scratch/cases/$file"; done
# An empty file stays empty here; one of the tools adds an empty line.
find "$scratch/cases" -name '*.toml' -empty -delete
unmoved "$scratch/cases"
echo "all agree"
