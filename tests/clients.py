#!/usr/bin/env python3
"""Installs the clients of other projects in exact versions, prints their folder, and changes nothing if they are there.

The newest releases and all dependencies share one environment; older releases of the SDK lie in old/VERSION without
dependencies, for PYTHONPATH. Exits with 75 if the package index cannot be reached."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "tests/clients/requirements.txt"
OLD = ["0.2.10", "0.2.14", "0.3.4"]
UNREACHABLE = 75


def pip(place, *arguments):
    command = [place / "bin/pip", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.Popen(command, stdout=sys.stderr)


def install(place):
    subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True, stdout=sys.stderr)
    runs = [pip(place, "install", "--no-deps", "-r", REQUIREMENTS)]
    for version in OLD:
        target = ["--target", place / "old" / version, f"prometheux_chain=={version}"]
        runs.append(pip(place, "install", "--no-deps", *target))
    return all([run.wait() == 0 for run in runs])


def main():
    place = Path(os.environ.get("WELLSPRING_TEST_CLIENTS", ROOT / "target/clients"))
    done = place / "installed.txt"
    wanted = REQUIREMENTS.read_text() + "\n".join(OLD)
    if not done.exists() or done.read_text() != wanted:
        if not install(place):
            # A package that every index has distinguishes an index without these releases from none.
            reachable = pip(place, "--retries", "1", "download", "--no-deps", "--no-cache-dir", "-d", place / "probe", "idna")
            sys.exit("a client cannot be installed; the reason is above" if reachable.wait() == 0 else UNREACHABLE)
        done.write_text(wanted)
    print(place)


if __name__ == "__main__":
    main()
