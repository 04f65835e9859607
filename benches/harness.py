"""What the scripts in this folder share: a Warren of their own to start, kill and look at, and the load generator.

A broker runs on free ports of 127.0.0.1 and on a folder of its own. Everything started here is ended here.
"""

import base64
import contextlib
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
START_SECONDS_MAX, STOP_SECONDS_MAX = 900, 300
MIB, GIB = 2**20, 2**30


class Failure(Exception):
    """Something the user should read in one line."""


# ---- the network


def free_ports(count):
    """Ports free a moment ago: bound together, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def answers(port):
    """Whether an AMQP broker greets a client there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as s:
            s.settimeout(2)
            s.sendall(b"AMQP\0\0\x09\x01")
            return s.recv(1) == b"\x01"
    except OSError:
        return False


# ---- the disk


class DiskLimit:
    """A control group (version 1) whose processes write so many bytes a second to a folder's disk, however fast that is."""

    def __init__(self, folder, bytes_per_second):
        self.group = pathlib.Path(f"/sys/fs/cgroup/blkio/warren-bench-{os.getpid()}")
        device = os.stat(folder).st_dev
        try:
            self.group.mkdir()
            limit = f"{os.major(device)}:{os.minor(device)} {bytes_per_second}"
            (self.group / "blkio.throttle.write_bps_device").write_text(limit)
        except OSError as error:
            raise Failure(f"the disk cannot be limited here (root and blkio of cgroup v1 are needed): {error}")

    def join(self):
        (self.group / "cgroup.procs").write_text(str(os.getpid()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.group.rmdir()


# ---- the broker


class Broker:
    """A server with a process group and a folder of its own, whose data outlive its process, so that it can be killed and
    started again. `with` ends it. What is told apart: `name`, `command()` (which chooses the ports), `is_ready()`."""

    name = "broker"
    environment = None

    def __init__(self, folder, limit=None):
        self.folder, self.limit = pathlib.Path(folder).resolve(), limit
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "output.log"
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGTERM)

    @property
    def pid(self):
        return self.process.pid

    @property
    def pids(self):
        """Of all its processes."""
        found = []
        for entry in os.scandir("/proc"):
            with contextlib.suppress(OSError, ProcessLookupError):
                if entry.name.isdigit() and os.getsid(int(entry.name)) == self.pid:
                    found.append(int(entry.name))
        return found

    def is_ready(self):
        return answers(self.port)

    def start(self, is_complete=lambda: True):
        """Starts it; returns the seconds until it greeted a client, and until `is_complete()` as well."""
        command = self.command()
        began = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.folder, env=self.environment, start_new_session=True,
                                            preexec_fn=self.limit and self.limit.join)
        self.wait_for(self.is_ready, "does not answer")
        greeted = time.monotonic() - began
        self.wait_for(is_complete, "answers, but does not get ready")
        return greeted, time.monotonic() - began

    def wait_for(self, condition, complaint, seconds=START_SECONDS_MAX):
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"{self.name} {complaint}; its output ends:\n{self.last_words()}")
            time.sleep(0.005)

    def last_words(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log.exists() else ""

    def end(self, how=signal.SIGTERM):
        """Ends it with a signal; returns the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(how)
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            print(f"{self.name} did not stop when asked to, killed", file=sys.stderr)
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()
        return time.monotonic() - began

    def resident_bytes(self, field="VmRSS"):
        """Of all its processes; one that is just ending has nothing."""
        total = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith(field + ":"):
                        total += int(line.split()[1]) * 1024
        return total


class Node(Broker):
    """A Warren."""

    name = "the broker"

    def __init__(self, binary, folder, limit=None):
        super().__init__(folder, limit)
        self.binary, self.data = pathlib.Path(binary).resolve(), self.folder / "data"
        if not self.binary.exists():
            raise Failure(f"{self.binary} does not exist: cargo build --release, or --binary")
        # Warren takes every WARREN_ variable for a setting, which are not this script's to give.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("WARREN_")}

    @property
    def pids(self):
        return [self.pid]

    def command(self):
        self.port, self.management, prometheus = free_ports(3)
        return [self.binary, "serve", "--data-dir", self.data, "--listen", f"127.0.0.1:{self.port}",
                "--management-listen", f"127.0.0.1:{self.management}", "--prometheus-listen", f"127.0.0.1:{prometheus}"]

    def get(self, path):
        """An answer of the HTTP API."""
        login = base64.b64encode(b"guest:guest").decode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.management}/api/{path}",
                                         headers={"authorization": f"Basic {login}"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def holds(self, queue, messages):
        """Whether a queue has so many messages."""
        try:
            return self.get(f"queues/%2F/{queue}")["messages"] == messages
        except (OSError, urllib.error.HTTPError, KeyError):
            return False

    def descriptors(self):
        with contextlib.suppress(OSError, AttributeError):
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        return 0

    def disk_bytes(self, part=""):
        """What a part of the data folder occupies, with holes left out."""
        total, path = 0, self.data / part
        for folder, _, files in os.walk(path):
            for name in files:
                with contextlib.suppress(OSError):  # deleted a moment ago
                    total += os.stat(os.path.join(folder, name)).st_blocks * 512
        return total

    def journal_files(self):
        with contextlib.suppress(OSError):
            return sum(1 for entry in os.scandir(self.data / "journal") if entry.is_file())
        return 0


class Sampler(threading.Thread):
    """Calls `look` in steady intervals until the `with` block ends, and keeps what it returns."""

    def __init__(self, seconds, look):
        super().__init__(daemon=True)
        self.seconds, self.look, self.samples = seconds, look, []
        self.is_over = threading.Event()

    def __enter__(self):
        self.began = time.monotonic()
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.join()
        self.sample()

    def run(self):
        while not self.is_over.wait(self.seconds):
            self.sample()

    def sample(self):
        self.samples.append({"seconds": round(time.monotonic() - self.began, 2)} | self.look())

    def most(self, key):
        return max(sample[key] for sample in self.samples)


# ---- the load


WARREN, WARRENCTL = REPOSITORY / "target/release/warren", REPOSITORY / "target/release/warrenctl"


def build():
    """Builds the broker and the load generator, where they are not up to date."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--bins"], cwd=REPOSITORY, check=True)


def words(options):
    """Options as a command line has them: `{"ack_every": 5, "keep": True}` is `--ack-every 5 --keep`."""
    for name, value in options.items():
        if value is False or value is None:
            continue
        yield f"--{name.replace('_', '-')}"
        if value is not True:
            yield str(value)


class Load:
    """A run of the load generator, `warrenctl perf`, from its start to `result()`. `action` may be several words."""

    def __init__(self, node, on_progress=lambda sample: None, action="throughput", **options):
        command = [WARRENCTL, "--format", "json", "perf", *action.split(), "--uri", f"amqp://127.0.0.1:{node.port}"]
        pids = [word for pid in node.pids for word in ("--pid", str(pid))]
        self.node, self.on_progress, self.errors = node, on_progress, []
        self.process = subprocess.Popen([*command, *pids, *words(options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        self.follower = threading.Thread(target=self.follow, daemon=True)
        self.follower.start()

    def follow(self):
        """How far it is, and what goes wrong, line by line."""
        for line in self.process.stderr:
            if line.startswith("{"):
                self.on_progress(json.loads(line))
            else:
                self.errors.append(line)

    def result(self):
        """The report."""
        try:
            report = self.process.stdout.read()
        finally:
            if self.process.poll() is None and sys.exc_info()[0] is not None:
                self.process.kill()
            self.process.wait()
            self.follower.join()
        if self.process.returncode != 0:
            raise Failure(f"the load failed: {''.join(self.errors).strip()}\n{self.node.last_words()}")
        return json.loads(report)


# ---- the machine, and numbers for people


def machine(folder):
    model = first_value("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    memory_kib = int(first_value("/proc/meminfo", "MemTotal").split()[0])
    return (f"{os.cpu_count()} cores ({model}), {memory_kib / 2**20:.0f} GiB, "
            f"Linux {platform.release()}, data on {filesystem(folder)}")


def first_value(path, key):
    for line in pathlib.Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def filesystem(folder):
    """The type of the file system a folder is on: what a sync costs depends on it."""
    best = ("", "an unknown file system")
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if (pathlib.Path(mount) == folder or pathlib.Path(mount) in folder.parents) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def commit():
    def git(*words):
        return subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()
    head = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"commit {head}" + (" with changes" if git("status", "--porcelain", "src", "Cargo.toml") else "")


def size(count):
    """Bytes for people."""
    if count >= GIB:
        return f"{count / GIB:,.2f} GiB"
    return f"{count / MIB:,.1f} MiB" if count >= MIB / 10 else f"{count:,} bytes"


def fresh_folder(folder):
    """An empty folder; what an interrupted run left there goes."""
    folder = pathlib.Path(folder).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def ends_with_the_script():
    """Makes SIGTERM an exit, so that `with` ends what was started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
