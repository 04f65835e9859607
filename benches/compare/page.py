"""Results as tables and charts: the generated part of docs/performance.md."""

import pathlib
import statistics

import bars
import queue_benchmark
from brokers import Redis, RabbitMQ, Warren
from harness import REPOSITORY, words
from scenarios import PERF_TESTS, SCENARIOS

DOCUMENT = REPOSITORY / "docs/performance.md"
IMAGES = REPOSITORY / "docs/images/compare"
BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"
BROKERS = ("Warren", "RabbitMQ")

# What a group's table shows: figure, heading, whether more is better.
RATES = [("in_per_second", "published /s", True), ("out_per_second", "received /s", True)]
COSTS = [("cpu_per_million", "broker CPU s / million", False), ("kernel_per_million", "kernel CPU s / million", False),
         ("written_per_message", "bytes written / message", False), ("memory_mib", "memory, MiB", False)]
COLUMNS = {
    "Latency at 10,000 a second, 1 KiB": [("p50", "p50 ms", False), ("p99", "p99 ms", False), ("p999", "p99.9 ms", False),
                                          ("cpu_per_million", "broker CPU s / million", False)],
    "Coming and going": [("per_second", "a second", True), ("p50", "p50 ms", False), ("p99", "p99 ms", False),
                         ("cpu_per_million", "broker CPU s / million", False)],
    "Idle": [("connections_kib", "KiB a connection", False), ("channels_kib", "KiB a channel", False),
             ("queues_kib", "KiB a queue", False), ("queues_per_second", "queues declared /s, pipelined", True)],
    "Disk": [("per_second", "a second", True), ("ms", "ms each", False)],
    "Start": [("accepts_ms", "ms to accept", False), ("memory_mib", "resident, MiB", False)],
    "Queue benchmark": [("enqueue_per_second", "enqueue /s", True), ("dequeue_per_second", "dequeue /s", True)],
}
# Groups whose loads end with a count, and not by the clock.
COUNTED = ("A backlog: publish only, then drain", "Idle", "Queue benchmark", "Start")
CHARTED = {
    "Transient": [("out_per_second", "messages a second"), ("cpu_per_million", "broker CPU seconds per million")],
    "Persistent, confirms, acks": [("out_per_second", "messages a second"), ("cpu_per_million", "broker CPU seconds per million")],
}


def rounded(number):
    """Three digits say all that such a measurement knows."""
    if number == 0:
        return "0"
    digits = 2 - int(f"{abs(number):e}".split("e")[1])
    return f"{round(number, digits):,.{max(0, digits)}f}"


def spread(values):
    if len(values) == 1:
        return rounded(values[0])
    return f"{rounded(statistics.median(values))} ({rounded(min(values))}–{rounded(max(values))})"


class Table:
    """The results by group, name and broker."""

    def __init__(self, results):
        self.runs = results["runs"]

    def groups(self):
        return list(dict.fromkeys(run["group"] for run in self.runs))

    def names(self, group):
        return list(dict.fromkeys(run["name"] for run in self.runs if run["group"] == group))

    def brokers(self, group):
        seen = dict.fromkeys(run["broker"] for run in self.runs if run["group"] == group)
        return sorted(seen, key=lambda name: (not name.startswith("Warren"), not name.startswith("RabbitMQ")))

    def how(self, group):
        """How it was measured, for people."""
        runs = [run for run in self.runs if run["group"] == group]
        first = (runs[0]["name"], runs[0]["broker"])
        count = sum((run["name"], run["broker"]) == first for run in runs)
        seconds, scale = runs[0]["seconds"], runs[0]["scale"]
        rounds = "One round" if count == 1 else f"Median (least–most) of {count} alternating rounds"
        loads = "" if group in COUNTED else f" of {seconds:g} s a load"
        return f"{rounds}{loads}" + (f", counts × {scale:g}." if scale != 1 else ".")

    def commands(self, group):
        """What made the load, for people."""
        runs = [run for run in self.runs if run["group"] == group]
        seconds, scale = runs[0]["seconds"], runs[0]["scale"]
        if group == "Queue benchmark":
            size, count = next(iter(queue_benchmark.SIZES)), runs[0]["figures"]["count"]
            loads = [load for is_persistent in (False, True) for load in queue_benchmark.loads(size, count, is_persistent)]
            return [f"warrenctl perf throughput {' '.join(words(load))}" for load in loads] + [
                f"(Redis: LPUSH and RPOP in groups of {queue_benchmark.CHUNK}, {queue_benchmark.WINDOW} on their way; the other sizes likewise)"]
        if group == "PerfTest":
            return [f"java -cp … com.rabbitmq.perf.PerfTest {' '.join(options)}" for options in PERF_TESTS.values()]
        return [scenario.command(seconds, scale) for scenario in SCENARIOS if scenario.group == group]

    def values(self, group, name, broker, figure):
        found = [run["figures"].get(figure) for run in self.runs
                 if (run["group"], run["name"], run["broker"]) == (group, name, broker)]
        return [value for value in found if value is not None]

    def median(self, group, name, broker, figure):
        values = self.values(group, name, broker, figure)
        return statistics.median(values) if values else None


def table_of(table, group):
    """A row for each scenario and figure, a column for each broker, and how many times better Warren is."""
    brokers = table.brokers(group)
    columns = COLUMNS.get(group, RATES + COSTS)
    is_pair = brokers == list(BROKERS)
    lines = [f"| | | {' | '.join(brokers)} |{' |' if is_pair else ''}", "|---|---" + "|---" * (len(brokers) + is_pair) + "|"]
    for name in table.names(group):
        label = name
        for figure, heading, is_more_better in columns:
            values = [table.values(group, name, broker, figure) for broker in brokers]
            if not any(any(value) for value in values):
                continue
            cells = [spread(value) if value else "–" for value in values]
            if is_pair:
                cells.append(times(*(statistics.median(value) if value else 0 for value in values), is_more_better))
            lines.append(f"| {label} | {heading} | {' | '.join(cells)} |")
            label = ""
    return lines


def times(warren, other, is_more_better):
    better, worse = (warren, other) if is_more_better else (other, warren)
    return f"{better / worse:.1f} ×" if better > 0 and worse > 0 else "–"


# ---- what issue 4 asked for: (what, the figure that shows it, the target, whether it is met)


def targets(table):
    median = table.median

    def at_most(what, limit, *key, unit=""):
        value = median(*key)
        if value is not None:
            yield what, f"{rounded(value)}{unit}", f"≤ {limit:g}{unit}", value <= limit

    def beside(what, factor, group, name, figure, is_more_better=True):
        values = [median(group, name, broker, figure) for broker in BROKERS]
        if all(values):
            ratio = values[0] / values[1] if is_more_better else values[1] / values[0]
            yield what, f"{ratio:.1f} × RabbitMQ", f"≥ {factor:g} ×", ratio >= factor

    transient, durable = "Transient", "Persistent, confirms, acks"
    yield from at_most("transient 16 B 1:1, broker CPU s per million", 0.7, transient, "16 B, 1:1", "Warren", "cpu_per_million")
    yield from at_most("transient 1 KiB 1:1, broker CPU s per million", 1.3, transient, "1 KiB, 1:1", "Warren", "cpu_per_million")
    small = "16 B, 1:1, window 200"
    yield from beside("persistent 16 B 1:1, window 200: rate", 6, durable, small, "out_per_second")
    yield from at_most("the same, broker CPU s per million", 2.0, durable, small, "Warren", "cpu_per_million")
    yield from beside("persistent 16 B 1:1, window 2,000: rate", 8, durable, "16 B, 1:1, window 2,000", "out_per_second")
    four = "1 KiB, 4:4, window 200"
    yield from beside("persistent 1 KiB 4:4, window 200 each: rate", 6.5, durable, four, "out_per_second")
    yield from at_most("the same, broker CPU s per million", 2.5, durable, four, "Warren", "cpu_per_million")
    backlog = "A backlog: publish only, then drain"
    yield from beside("publish only, 16 B transient", 8, backlog, "16 B, transient: publish", "in_per_second")
    yield from beside("drain, 16 B transient", 13, backlog, "16 B, transient: drain", "out_per_second")
    going = "Coming and going"
    yield from beside("declare durable queues one by one", 3, going, "durable queues, declared one by one", "per_second")
    bare = median("Disk", "write and fdatasync of 1100 B", "the disk", "per_second")
    one = median("Ways to confirm and to take, 1 KiB", "one confirm at a time", "Warren", "in_per_second")
    if bare and one:
        yield "one confirm at a time", f"{one / bare:.0%} of a bare write and fdatasync", "≥ 85%", one / bare >= 0.85
    yield from queue_targets(table)
    latency = "Latency at 10,000 a second, 1 KiB"
    yield from at_most("latency at 10,000/s, transient 1 KiB: p99", 1, latency, "transient", "Warren", "p99", unit=" ms")
    yield from at_most("the same: p99.9", 5, latency, "transient", "Warren", "p999", unit=" ms")
    yield from beside("fan-out 1:100, 1 KiB: deliveries per CPU second", 3, "Shapes, 1 KiB", "fan-out 1:100, transient",
                      "cpu_per_million", is_more_better=False)
    yield from at_most("fan-out 1:100, 1 KiB, persistent: bytes written a delivery (one body for all: 10)", 50, "Shapes, 1 KiB",
                       "fan-out 1:100, persistent", "Warren", "written_per_message")
    for what, figure, limit in (("queue", "queues_kib", 2), ("connection", "connections_kib", 12), ("channel", "channels_kib", 1)):
        yield from at_most(f"an idle {what}", limit, "Idle", "connections, channels, durable queues", "Warren", figure, unit=" KiB")
    yield from at_most("start with nothing stored", 50, "Start", "with nothing stored", "Warren", "accepts_ms", unit=" ms")
    yield from at_most("the same: resident", 12, "Start", "with nothing stored", "Warren", "memory_mib", unit=" MiB")


def queue_targets(table):
    group = "Queue benchmark"
    for ours, theirs in (("transient", "no"), ("persistent", "everysec")):
        for size in table.names(group):
            for figure in ("enqueue_per_second", "dequeue_per_second"):
                warren = table.median(group, size, f"Warren, {ours}", figure)
                redis = table.median(group, size, f"Redis, appendonly {theirs}", figure)
                if warren and redis:
                    what = f"queue benchmark, {ours}, {size}, {figure.split('_')[0]}"
                    yield what, f"{warren / redis:.2f} × Redis (appendonly {theirs})", "≥ 1 ×", warren >= redis
    yield from flatness(table, group)


def flatness(table, group):
    """The last tenth beside the first one."""
    for size in table.names(group):
        for direction in ("enqueue", "dequeue"):
            seconds = middle(table, group, size, "Warren, persistent", direction)
            if seconds:
                slower = (seconds[-1] - seconds[-2]) / seconds[0] - 1
                what = f"queue benchmark, persistent, {size}, {direction}: time of the last tenth beside the first"
                yield what, f"{slower:+.0%}", "≤ +15%", slower <= 0.15


def page(results):
    table, about = Table(results), results["about"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"{about['machine']}. {about['date']}. {versions}.",
        "",
        "Settings: " + "; ".join(f"{broker.name}: {broker.settings}" for broker in (Warren, RabbitMQ, Redis)) + ".",
        "",
        "Where two brokers stand side by side, the last column says how many times better Warren is.",
        "",
        "### Targets",
        "",
        "| | measured | target | |",
        "|---|---|---|---|",
        *(f"| {what} | {value} | {target} | {'met' if is_met else '**missed**'} |" for what, value, target, is_met in targets(table)),
    ]
    for group in table.groups():
        lines += ["", f"### {group}", "", table.how(group), ""]
        for figure, unit in CHARTED.get(group, []):
            lines += [f"![{group}: {unit}](images/compare/{image_name(group, figure)})", ""]
        if group == "Queue benchmark":
            lines += [f"![{size}: seconds until so many messages](images/compare/queue-{slug(size)}.svg)" for size in table.names(group)]
            lines.append("")
        lines += table_of(table, group)
        if commands := table.commands(group):
            lines += ["", "<details><summary>The loads</summary>", "", *(f"    {command}" for command in commands), "", "</details>"]
    return "\n".join(lines)


def slug(text):
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def image_name(group, figure):
    return f"{slug(group)}-{slug(figure)}.svg"


def write(results, text):
    """Puts the tables into the document and its charts beside it."""
    table = Table(results)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for old in IMAGES.glob("*.svg"):
        old.unlink()
    for group in table.groups():
        for figure, unit in CHARTED.get(group, []):
            rows = [(name, [table.median(group, name, broker, figure) for broker in table.brokers(group)])
                    for name in table.names(group)]
            image = bars.draw(f"{group}: {unit}", table.brokers(group), rows)
            (IMAGES / image_name(group, figure)).write_text(image)
    group = "Queue benchmark"
    for size in table.names(group) if group in table.groups() else []:
        panels = []
        for figure in ("enqueue", "dequeue"):
            lines = [(broker, middle(table, group, size, broker, figure)) for broker in table.brokers(group)]
            panels.append((figure, [(broker, seconds) for broker, seconds in lines if seconds]))
        count = next(run["figures"]["count"] for run in results["runs"] if run["group"] == group)
        (IMAGES / f"queue-{slug(size)}.svg").write_text(bars.draw_curves(f"{size}: seconds until so many messages", count, panels))
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def middle(table, group, name, broker, figure):
    """The run whose whole time is the median."""
    runs = sorted(table.values(group, name, broker, figure), key=lambda seconds: seconds[-1])
    return runs[len(runs) // 2] if runs else []
