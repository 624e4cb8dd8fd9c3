"""Replaces the generated hosts of sources by the loopback address, so that no call leaves the machine."""

import re

import schemathesis

NOWHERE = "127.0.0.1"


def at_home(value):
    if isinstance(value, list):
        return [at_home(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: moved(key, item) for key, item in value.items()}


def moved(key, item):
    if key == "host" and isinstance(item, str) and item:
        return NOWHERE
    if key == "url" and isinstance(item, str) and "://" in item:
        return re.sub(r"@[^/:]+", "@" + NOWHERE, item)
    return at_home(item)


@schemathesis.hook
def map_body(context, body):
    return at_home(body)
