"""Keeps what is made up on this machine: hosts that sources name are those of nobody."""

import schemathesis

NOWHERE = "127.0.0.1"


def at_home(value):
    if isinstance(value, list):
        return [at_home(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: NOWHERE if key == "host" and isinstance(item, str) and item else at_home(item)
        for key, item in value.items()
    }


@schemathesis.hook
def map_body(context, body):
    return at_home(body)
