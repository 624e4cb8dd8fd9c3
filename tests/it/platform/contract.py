"""Calls the six endpoints from Python, with `requests` if installed, else with the standard library. Takes
the base URL and the token; prints the decoded responses."""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request

try:
    import requests
except ImportError:
    requests = None


class Workspace:
    def __init__(self, base_url, token, workspace_id):
        self.url = f"{base_url}/data/{workspace_id}"
        self.headers = {"Authorization": f"Bearer {token}"}

    def get(self, endpoint, **params):
        if requests:
            return requests.get(f"{self.url}/{endpoint}", headers=self.headers, params=params).json()
        return self.call(f"{self.url}/{endpoint}?{urllib.parse.urlencode(params)}", None)

    def post(self, endpoint, **fields):
        if requests:
            return requests.post(f"{self.url}/{endpoint}", headers=self.headers, json=fields).json()
        return self.call(f"{self.url}/{endpoint}", json.dumps(fields).encode())

    def call(self, url, body):
        headers = self.headers | ({"Content-Type": "application/json"} if body else {})
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            return json.load(refusal)


def described(table):
    columns = ", ".join(f"{column['name']} {column['type']}" for column in table["columns"])
    return f"{table['name']}: {columns}"


database = {
    "type": "database",
    "connection_config": {
        "host": "db.example.com",
        "port": 5432,
        "database": "customers",
        "username": "user",
        "password": "password",
    },
}
customer_db = database | {"name": "customer_db", "metadata": {"description": "Customer database connection"}}
sales_api = {
    "type": "api",
    "name": "sales_api",
    "connection_config": {"base_url": "https://api.sales.com", "api_key": "your_api_key"},
}

workspace = Workspace(sys.argv[1], sys.argv[2], "workspace_id")
connected = workspace.post("connect", scope="user", sources=[customer_db, sales_api])
print("connect", len(connected["data"]["connected_sources"]))

rows = workspace.get("list", scope="user")["data"]
ids = [row["id"] for row in rows]
for row in rows:
    print("list", row["name"], row["type"])

print("test", workspace.post("test-connection", source_config=database)["status"])
for source_id in ids:
    for table in workspace.get("schema", source_id=source_id, scope="user")["data"]["tables"]:
        print("schema", described(table))

options = {"incremental": True, "batch_size": 1000}
one = workspace.post("sync", scope="user", source_ids=ids[:1], sync_options=options)
print("sync one", one["data"]["records_processed"])
print("sync all", workspace.post("sync", scope="user")["data"]["records_processed"])
print("sync unknown", workspace.post("sync", scope="user", source_ids=["source_123"], sync_options=options)["status"])

print("cleanup one", workspace.post("cleanup", scope="user", source_ids=ids[:1])["message"])
print("cleanup all", workspace.post("cleanup", scope="user")["message"])
