"""What schemathesis is told before it asks: names that exist, so that it gets behind a 404, and never what it logs in with.

The broker is that of `tests/api/run`, which makes the objects of OBJECTS first. What a request takes away is made again.
"""

import base64
import json
import os
import urllib.error
import urllib.request

import schemathesis

BASE = os.environ["WARREN_API"]
LOGIN = base64.b64encode(b"guest:guest").decode()
LIMITS = {"vhost-limits": "max-queues", "user-limits": "max-channels"}
OBJECTS = [
    ("vhosts/v", {}),
    ("users/u", {"password": "p", "tags": "management"}),
    ("permissions/v/u", {"configure": ".*", "write": ".*", "read": ".*"}),
    ("permissions/v/guest", {"configure": ".*", "write": ".*", "read": ".*"}),
    ("queues/v/x", {"durable": True}),
    ("exchanges/v/x", {"type": "topic", "durable": True}),
    ("policies/v/x", {"pattern": "^never$", "definition": {"max-length": 5}}),
    ("operator-policies/v/x", {"pattern": "^never$", "definition": {"max-length": 5}}),
    ("parameters/shovel/v/x", {"value": {}}),
    ("global-parameters/x", {"value": {}}),
    ("vhost-limits/v/max-queues", {"value": 1000}),
    ("user-limits/u/max-channels", {"value": 1000}),
]
# With these, others go.
HOMES = ("vhosts/v", "users/u", "queues/v/x", "exchanges/v/x")
# What stands in paths for the objects above.
NAMES = {
    "vhost": "v", "user": "u", "queue": "x", "exchange": "x", "source": "x", "destination": "x", "key": "x",
    "component": "shovel", "name": "x", "setting": "heartbeat",
}


def ask(method, path, body=None):
    """The status of a request of our own."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{BASE}/api/{path}", data, {"authorization": f"Basic {LOGIN}"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def make_objects(path=""):
    """Makes what is missing: all of it, or what stands under a path. Returns the paths that were refused."""
    asked = [("PUT", own, body) for own, body in OBJECTS]
    asked.append(("POST", "bindings/v/e/x/q/x", {"routing_key": "x"}))
    asked = [(method, own, body) for method, own, body in asked if path.startswith(own) or path in ("", *HOMES)]
    return [own for method, own, body in asked if ask(method, own, body) not in (201, 204)]


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Half of the names are those of objects that there are; whoever is changed is not who asks."""
    path = context.operation.path
    for name, value in (path_parameters or {}).items():
        if name not in NAMES or not isinstance(value, str):
            continue
        limit = next((limit for noun, limit in LIMITS.items() if noun in path), None)
        known = limit if limit and name == "name" else NAMES[name]
        is_ours = name in ("vhost", "user") and value in ("/", "%2F", "guest")
        if is_ours or len(value) % 2 == 0:
            path_parameters[name] = known
    return path_parameters


@schemathesis.hook
def after_call(context, case, response):
    if case.method.upper() == "DELETE" and response.status_code < 300:
        make_objects(case.formatted_path.removeprefix("/api/"))
