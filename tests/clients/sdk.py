"""Calls functions of the SDK and prints what they return or raise.

Reads {"url", "token", "calls": [[function, {argument: value}], …]} from the standard input. An argument with the key
`database_type` becomes a `Database`; a function `client.NAME` is the one below the checks, which returns whole answers."""

import contextlib
import json
import sys

import prometheux_chain as px
from prometheux_chain.client.jarvispy_client import JarvisPyClient
from prometheux_chain.data.database import Database


def argument(value):
    return Database(**value) if isinstance(value, dict) and "database_type" in value else value


def outcome(name, arguments):
    owner, _, function = name.rpartition(".")
    call = getattr(JarvisPyClient if owner else px, function)
    try:
        return {"returned": call(**{key: argument(value) for key, value in arguments.items()})}
    except Exception as error:
        return {"raised": str(error)}


request = json.load(sys.stdin)
px.config.set("JARVISPY_URL", request["url"])
px.config.set("PMTX_TOKEN", request["token"])
# Release 0.2.10 prints messages.
with contextlib.redirect_stdout(sys.stderr):
    outcomes = [outcome(name, arguments) for name, arguments in request["calls"]]
print(json.dumps(outcomes))
