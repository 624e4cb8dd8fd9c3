#!/usr/bin/env python3
"""Plants each mistake of tests/mutations/list.toml in a copy of the repository; fails if the tests named
there still pass. Usage: tests/mutations.py [N…]; the numbers begin with 1."""

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
    """Copies changed files only; others keep their timestamps and are not built again."""
    for path in sorted(target.rglob("*"), reverse=True) if target.exists() else []:
        if path.is_file() and not (source / path.relative_to(target)).is_file():
            path.unlink()
    for path in source.rglob("*"):
        copied = target / path.relative_to(source)
        if path.is_file() and "target" not in path.relative_to(source).parts and not same(path, copied):
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)


def copy():
    for source in root.iterdir():
        target = tree / source.name
        if source.name in ("target", ".git"):
            continue
        if source.is_dir():
            mirror(source, target)
        elif not same(source, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def run(arguments):
    environment = {**os.environ, "CARGO_TARGET_DIR": str(place / "target"), "CARGO_TERM_COLOR": "never"}
    environment.pop("UPDATE", None)
    return subprocess.run(["cargo", "test", "-q", *arguments], cwd=tree, env=environment, capture_output=True, text=True)


def arguments_of(test):
    target, _, only = test.partition(":")
    if target == "lib":
        chosen_target = ["--lib"]
    elif target.startswith("wellspring-"):
        chosen_target = ["--package", target]
    else:
        chosen_target = ["--test", target]
    return [*chosen_target, *filter(None, [only])]


def check_unchanged():
    """Runs the tests without a mistake: tests that fail or do not start would appear to detect all."""
    for test in sorted({test for number in chosen for test in list_[number - 1]["tests"]}):
        finished = run(arguments_of(test))
        if finished.returncode != 0 or "test result: ok. 0 passed" in finished.stdout:
            sys.exit(f"{test} does not pass as it is:\n{finished.stdout}{finished.stderr}")


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
        for test in mutation["tests"]:
            finished = run(arguments_of(test))
            if "test result: FAILED" in finished.stdout:
                return "noticed"
            if finished.returncode != 0:
                print(finished.stdout, finished.stderr, file=sys.stderr)
                return "DOES NOT RUN"
        return "SURVIVES"
    finally:
        path.write_text(text)


copy()
check_unchanged()
bad = 0
for number in chosen:
    mutation = list_[number - 1]
    result = outcome(mutation)
    bad += result != "noticed"
    print(f"{number:3} {result:16} {mutation['file']}: {mutation['why']}", flush=True)
print(f"{len(list(chosen))} mistakes, {bad} not noticed")
sys.exit(bad > 0)
