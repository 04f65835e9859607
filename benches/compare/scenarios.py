"""What is measured: a name, the options of `warrenctl perf`, and how the result becomes figures. To add one: a line here."""

import dataclasses

from harness import words

SIZES = {16: "16 B", 128: "128 B", 512: "512 B", 1024: "1 KiB", 10_240: "10 KiB", 1 << 20: "1 MiB"}
# At most so many bytes of bodies are on their way, so that the disk or the memory of a slow consumer is not what is measured.
BACKLOG_BYTES = 200 << 20

PERSISTENT = {"persistent": True, "confirm": 200, "ack_every": 50}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """`group` is a table and a broker of its own; `seconds` is a share of what a load is given."""

    group: str
    name: str
    options: dict
    action: str = "throughput"
    # Bounded by a count instead of time, if the options say so; multiplied by the scale asked for.
    counted: str = ""

    def options_for(self, seconds, scale):
        """As the generator gets them."""
        options = dict(self.options)
        for key in self.counted.split():
            options[key] = max(10, round(options[key] * scale))
        if not self.counted:
            options["seconds"] = seconds
        if "extra_bindings" in options:
            options["extra_bindings"] = max(1, round(options["extra_bindings"] * scale))
        return options

    def command(self, seconds, scale):
        """For people."""
        return " ".join(["warrenctl perf", self.action, *words(self.options_for(seconds, scale))])


def backlog(size, queues=1):
    return {"backlog_max": max(200, min(100_000, BACKLOG_BYTES // size)) * min(queues, 4)}


def throughput():
    for size, name in SIZES.items():
        for clients in (1, 4):
            who = {"size": size, "producers": clients, "consumers": clients}
            yield Scenario("Transient", f"{name}, {clients}:{clients}", who | backlog(size))
            yield Scenario("Persistent, confirms, acks", f"{name}, {clients}:{clients}, window 200",
                           who | PERSISTENT | backlog(size))
    small = {"size": 16} | backlog(16)
    yield Scenario("Persistent, confirms, acks", "16 B, 1:1, window 2,000",
                   small | PERSISTENT | {"confirm": 2000, "prefetch": 2000})


def shapes():
    group = "Shapes, 1 KiB"
    one = {"size": 1024} | backlog(1024)
    fan = {"exchange_type": "fanout", "queues": 100, "consumers": 100, "backlog_max": 100_000, "size": 1024}
    yield Scenario(group, "fan-out 1:100, transient", fan)
    yield Scenario(group, "fan-out 1:100, persistent", fan | PERSISTENT)
    yield Scenario(group, "fan-in 100:1, transient", one | {"producers": 100})
    yield Scenario(group, "fan-in 100:1, persistent", one | PERSISTENT | {"producers": 100, "confirm": 20})
    yield Scenario(group, "1,000 queues, transient", one | {"queues": 1000, "consumers": 4})
    yield Scenario(group, "1,000 queues, persistent", one | PERSISTENT | {"queues": 1000, "consumers": 4})


def ways():
    group = "Ways to confirm and to take, 1 KiB"
    one = {"size": 1024} | backlog(1024)
    durable = one | {"persistent": True, "ack_every": 50}
    yield Scenario(group, "one confirm at a time", durable | {"confirm": 1})
    yield Scenario(group, "transactions of 1", durable | {"tx": 1})
    yield Scenario(group, "transactions of 100", durable | {"tx": 100})
    yield Scenario(group, "transient, acks one by one", one | {"ack_every": 1})
    yield Scenario(group, "transient, basic.get", one | {"get": True, "backlog_max": 1000})
    yield Scenario(group, "transient, 5 priorities", one | {"priorities": 5})
    yield Scenario(group, "transient, a time to live of 60 s", one | {"expiration": 60_000})


def exchanges():
    group = "Exchanges, 16 B, transient"
    one = {"size": 16, "keys": 1000} | backlog(16)
    yield Scenario(group, "direct, 1,000 keys", one | {"exchange_type": "direct"})
    yield Scenario(group, "headers, 10 bindings", one | {"exchange_type": "headers", "keys": 10})
    yield Scenario(group, "topic, 100,000 bindings", one | {"exchange_type": "topic", "extra_bindings": 99_000})


def backlogs():
    group = "A backlog: publish only, then drain"
    for size, count in ((16, 2_000_000), (1024, 500_000)):
        who = {"size": size, "messages": count}
        fill, drain = who | {"consumers": 0}, who | {"producers": 0}
        yield Scenario(group, f"{SIZES[size]}, transient: publish", fill, counted="messages")
        yield Scenario(group, f"{SIZES[size]}, transient: drain", drain, counted="messages")
        fill |= {"persistent": True, "confirm": 2000, "queue": "durable"}
        drain |= {"persistent": True, "ack_every": 100, "prefetch": 1000, "queue": "durable"}
        yield Scenario(group, f"{SIZES[size]}, persistent: publish", fill, counted="messages")
        yield Scenario(group, f"{SIZES[size]}, persistent: drain", drain, counted="messages")


def latencies():
    group = "Latency at 10,000 a second, 1 KiB"
    paced = {"size": 1024, "rate": 10_000}
    yield Scenario(group, "transient", paced)
    yield Scenario(group, "persistent, confirms, acks", paced | {"persistent": True, "confirm": 5000, "ack_every": 10})


def churn():
    group = "Coming and going"
    yield Scenario(group, "connections, 4 at a time", {"connections": 4}, action="churn connection")
    yield Scenario(group, "channels", {}, action="churn channel")
    yield Scenario(group, "consumers", {}, action="churn consumer")
    yield Scenario(group, "durable queues, declared and deleted", {"persistent": True}, action="churn queue")
    yield Scenario(group, "durable queues, declared one by one", {"persistent": True, "leave": True, "count": 5000},
                   action="churn queue", counted="count")


def idle():
    options = {"connections": 10_000, "channels": 10_000, "queues": 10_000, "persistent": True}
    yield Scenario("Idle", "connections, channels, durable queues", options, action="idle",
                   counted="connections channels queues")


PERF_TESTS = {
    "16 B, transient, 1:1": ["-s", "16", "-a", "-ad", "false"],
    "1 KiB, persistent, confirms 200, acks 50, 1:1":
        ["-s", "1024", "-f", "persistent", "-c", "200", "-q", "500", "-A", "50", "-ad", "false"],
}

SCENARIOS = [scenario for group in (throughput, shapes, ways, exchanges, backlogs, latencies, churn, idle)
             for scenario in group()]
