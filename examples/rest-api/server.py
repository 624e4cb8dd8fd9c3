"""The API of a harbour master: tide gauges and what they measure, a new reading every ten seconds.

    python3 server.py [PORT]        the port is 8790 unless one is given

Callers bear the token `spring-tide`, or that of the variable HARBOUR_TOKEN.
"""

import json
import math
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

TOKEN = os.environ.get("HARBOUR_TOKEN", "spring-tide")
GAUGES = [
    {"code": "NOR", "name": "North Mole", "latitude": 54.712, "longitude": 8.431, "range_m": 3.1},
    {"code": "FER", "name": "Ferry Stage", "latitude": 54.698, "longitude": 8.447, "range_m": 2.9},
    {"code": "LCK", "name": "Old Lock", "latitude": 54.691, "longitude": 8.462, "range_m": 2.4},
    {"code": "RIV", "name": "River Bend", "latitude": 54.677, "longitude": 8.503, "range_m": 1.6},
    {"code": "ISL", "name": "Gull Island", "latitude": 54.760, "longitude": 8.392, "range_m": 3.3},
]
TIDE = 12 * 3600 + 25 * 60  # seconds from one high water to the next
EVERY = 10
STARTED = int(time.time()) // EVERY * EVERY - 100 * EVERY


def reading(gauge, at):
    height = gauge["range_m"] / 2 * math.sin(2 * math.pi * at / TIDE)
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    return {"gauge": gauge["code"], "at": moment, "height_m": round(height, 3), "rising": math.cos(2 * math.pi * at / TIDE) > 0}


def readings(since):
    moments = range(STARTED, int(time.time()) + 1, EVERY)
    found = (reading(gauge, at) for at in moments for gauge in GAUGES)
    return [one for one in found if one["at"] >= since]


class Harbour(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked = urlparse(self.path)
        query = {name: values[-1] for name, values in parse_qs(asked.query).items()}
        page = int(query.get("page", "1"))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "who are you?"})
        elif asked.path == "/v1/gauges":
            more = {"Link": f'</v1/gauges?page={page + 1}>; rel="next"'} if page * 2 < len(GAUGES) else {}
            self.answer(200, GAUGES[page * 2 - 2 : page * 2], more)
        elif asked.path == "/v1/readings":
            size = int(query.get("per_page", "100"))
            found = readings(query.get("since", ""))
            self.answer(200, {"data": {"readings": found[(page - 1) * size : page * size]}, "total": len(found)})
        else:
            self.answer(404, {"error": "there are /v1/gauges and /v1/readings"})

    def answer(self, status, value, headers=None):
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8790), Harbour)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
