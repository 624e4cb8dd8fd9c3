#!/usr/bin/env python3
"""Makes each mistake of tests/mutations/list.toml in a copy of the tree, and fails when the tests named
there do not notice it. Usage: tests/mutations.py [N…]; the numbers begin with 1."""

import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

root = pathlib.Path(__file__).resolve().parent.parent
place = root / "target" / "mutations"
tree = place / "tree"
list_ = tomllib.loads((root / "tests/mutations/list.toml").read_text())["mutation"]
chosen = [int(n) for n in sys.argv[1:]] or range(1, len(list_) + 1)


def same(one, other):
    return other.exists() and one.read_bytes() == other.read_bytes()


def mirror(source, target):
    """What is as it was keeps its time, so that it is not built again."""
    for path in sorted(target.rglob("*"), reverse=True) if target.exists() else []:
        if path.is_file() and not (source / path.relative_to(target)).is_file():
            path.unlink()
    for path in source.rglob("*"):
        copied = target / path.relative_to(source)
        if path.is_file() and not same(path, copied):
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)


def copy():
    for name in ["src", "tests", "docs", "examples", "Cargo.toml", "Cargo.lock", "clippy.toml", "rustfmt.toml", "README.md"]:
        source, target = root / name, tree / name
        if source.is_dir():
            mirror(source, target)
        elif source.exists() and not same(source, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def run(arguments):
    environment = {**os.environ, "CARGO_TARGET_DIR": str(place / "target"), "CARGO_TERM_COLOR": "never"}
    environment.pop("UPDATE", None)
    return subprocess.run(["cargo", "test", "-q", *arguments], cwd=tree, env=environment, capture_output=True, text=True)


def tests_of(mutation):
    for test in mutation["tests"]:
        yield ["--lib", test.removeprefix("lib:")] if test.startswith("lib:") else ["--test", test]


def outcome(mutation):
    path = tree / mutation["file"]
    text = path.read_text()
    lines = text.split("\n")
    at = [n for n, line in enumerate(lines) if line.strip() == mutation["before"]]
    if len(at) != 1:
        return "DOES NOT APPLY"
    lines[at[0]] = mutation["after"]
    path.write_text("\n".join(lines))
    try:
        for arguments in tests_of(mutation):
            finished = run(arguments)
            if "could not compile" in finished.stderr:
                print(finished.stderr, file=sys.stderr)
                return "DOES NOT COMPILE"
            if finished.returncode != 0:
                return "noticed"
        return "SURVIVES"
    finally:
        path.write_text(text)


copy()
bad = 0
for number in chosen:
    mutation = list_[number - 1]
    result = outcome(mutation)
    bad += result != "noticed"
    print(f"{number:3} {result:16} {mutation['file']}: {mutation['why']}", flush=True)
print(f"{len(list(chosen))} mistakes, {bad} not noticed")
sys.exit(bad > 0)
