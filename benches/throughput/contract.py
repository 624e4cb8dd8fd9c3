"""Yardstick `py`: two functions of the API description in a loop, one list and one connect per workspace.

Uses `requests` if it is installed, else the standard library. Prints the duration of the loop and its CPU
time in seconds, without the start of Python and the loading of the sources.
"""

import json
import resource
import sys
import time

try:
    import requests
except ImportError:
    import urllib.request

    requests = None


def list_data_sources(base_url, token, workspace_id, scope="user"):
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{base_url}/data/{workspace_id}/list"
    if requests:
        return requests.get(url, headers=headers, params={"scope": scope}).json()
    request = urllib.request.Request(f"{url}?scope={scope}", headers=headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def connect_data_sources(base_url, token, workspace_id, sources, scope="user"):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = {"scope": scope, "sources": sources}
    url = f"{base_url}/data/{workspace_id}/connect"
    if requests:
        return requests.post(url, headers=headers, json=data).json()
    request = urllib.request.Request(url, json.dumps(data).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def main(base_url, token, body, *workspaces):
    with open(body, encoding="utf-8") as file:
        sources = json.load(file)["sources"]
    used, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for workspace in workspaces:
        listed = list_data_sources(base_url, token, workspace)
        assert listed["status"] == "success", listed["message"]
        connected = connect_data_sources(base_url, token, workspace, sources)
        assert len(connected["data"]["connected_sources"]) == len(sources)
    took = time.perf_counter() - start
    now = resource.getrusage(resource.RUSAGE_SELF)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    print(took, cpu, "requests" if requests else "urllib")


if __name__ == "__main__":
    main(*sys.argv[1:])
