#!/usr/bin/env python3
"""Tests the local platform against its description, /openapi.json, with Schemathesis: generated valid and
invalid calls must be answered as described. The first argument is the `wellspring` program, further ones go
to Schemathesis, which is installed into target/schemathesis if missing."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "tests/openapi/requirements.txt"
TOKEN = "a-token-of-the-tests"
# A fixed seed and a limit, so that every run makes the same calls.
BOUNDS = ["--seed", "20261127", "--max-examples", "40", "--request-timeout", "70"]
LONGEST = 300
# A proxy that refuses connections, so that calls to generated hosts never leave the machine.
NOBODY = "http://127.0.0.1:9"


def installed():
    place = Path(os.environ.get("WELLSPRING_TEST_SCHEMATHESIS", ROOT / "target/schemathesis"))
    done = place / "installed.txt"
    if not done.exists() or done.read_text() != REQUIREMENTS.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        pip = [place / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS]
        subprocess.run(pip, check=True)
        done.write_text(REQUIREMENTS.read_text())
    return place / "bin/schemathesis"


def main():
    program, extra = sys.argv[1], sys.argv[2:]
    schemathesis = installed()
    with tempfile.TemporaryDirectory() as place:
        data = Path(place, "data")
        data.mkdir()
        (data / "a.csv").write_text("n\n1\n2\n")
        proxies = {name: NOBODY for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
        command = [program, "serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--state-dir", Path(place, "state")]
        own = {"PMTX_TOKEN": TOKEN, "NO_PROXY": "", "no_proxy": ""}
        served = subprocess.Popen(command, env=os.environ | proxies | own, stdout=subprocess.PIPE, text=True)
        try:
            lines = (line.strip() for line in served.stdout)
            url = next(line.partition("=")[2] for line in lines if line.startswith("export WELLSPRING_URL="))
            command = [schemathesis, "run", f"{url}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}"]
            environment = os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(ROOT / "tests/openapi")}
            run = subprocess.run([*command, *BOUNDS, *extra], env=environment, cwd=place, timeout=LONGEST)
        finally:
            served.terminate()
            served.wait()
        return run.returncode


if __name__ == "__main__":
    sys.exit(main())
