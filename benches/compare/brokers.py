"""The servers that are compared: each a process group of its own on a folder of its own, and what the kernel says it cost."""

import os
import pathlib
import signal
import socket
import subprocess

from harness import Broker, Failure, Node, free_ports

RABBITMQ = pathlib.Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
REDIS = pathlib.Path("/usr/bin/redis-server")
TICKS = os.sysconf("SC_CLK_TCK")


class Warren(Node):
    """As installed."""

    name = "Warren"
    settings = "no configuration but addresses and the data directory: durability sync, 96 MiB of messages in memory, HTTP API on"

    @staticmethod
    def is_there():
        return True


class RabbitMQ(Broker):
    """Debian's package, with the management plugin and Prometheus."""

    name = "RabbitMQ"
    plugins = "rabbitmq_management,rabbitmq_prometheus"
    settings = f"no configuration but addresses and directories; plugins {plugins.replace(',', ' and ')}, statistics as installed"

    @staticmethod
    def is_there():
        return RABBITMQ.exists()

    def command(self):
        self.port, self.management, prometheus, distribution, epmd = free_ports(5)
        settings = [
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            "management.tcp.ip = 127.0.0.1", f"management.tcp.port = {self.management}",
            "prometheus.tcp.ip = 127.0.0.1", f"prometheus.tcp.port = {prometheus}",
        ]
        (self.folder / "rabbitmq.conf").write_text("\n".join(settings) + "\n")
        (self.folder / "enabled_plugins").write_text(f"[{self.plugins}].\n")
        self.environment = os.environ | {
            "HOME": str(self.folder),  # where Erlang puts its cookie
            "ERL_EPMD_PORT": str(epmd),  # a port mapper of our own, which ends with us
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "compare@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        self.mapper = subprocess.Popen(["epmd", "-address", "127.0.0.1", "-port", str(epmd)],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return [RABBITMQ]

    def end(self, how=signal.SIGTERM):
        # The start script passes a signal on only in some versions: ask the Erlang machine itself.
        try:
            os.kill(int((self.folder / "pid").read_text()), how)
        except (OSError, ValueError):
            pass
        try:
            return super().end(how)
        finally:
            self.mapper.terminate()
            self.mapper.wait()


class Redis(Broker):
    """Debian's package; `persistence` as its configuration has it: no, everysec or always."""

    name = "Redis"
    settings = "`--save ''`, and `--appendonly no`, or `yes` with `--appendfsync everysec` or `always`; nothing else"

    def __init__(self, folder, persistence="no"):
        super().__init__(folder)
        self.persistence = persistence

    @staticmethod
    def is_there():
        return REDIS.exists()

    def command(self):
        [self.port] = free_ports(1)
        appends = ["--appendonly", "no"] if self.persistence == "no" else [
            "--appendonly", "yes", "--appendfsync", self.persistence]
        return [REDIS, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.folder, "--save", "", *appends]

    def is_ready(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as s:
                s.sendall(b"PING\r\n")
                return s.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


def install():
    """Installs what is missing, where that may be done; none of it is started as a service."""
    missing = [name for name, broker in (("rabbitmq-server", RabbitMQ), ("redis-server", Redis)) if not broker.is_there()]
    if not missing:
        return
    if os.geteuid() != 0 or not pathlib.Path("/usr/bin/apt-get").exists():
        print(f"left out: {' and '.join(missing)}; root on Debian installs them")
        return
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    is_ours = not policy.exists()
    if is_ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
        done = subprocess.run(command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, capture_output=True)
        if done.returncode != 0:
            subprocess.run(["apt-get", "update", "-q"], capture_output=True)
            subprocess.run(command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, capture_output=True)
    finally:
        if is_ours:
            policy.unlink()
    for broker in (RabbitMQ, Redis):
        if not broker.is_there():
            print(f"left out: {broker.name} could not be installed")


# ---- what the kernel says


def stat_of(pid):
    """Parent, and processor seconds so far, children that ended included."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[1]), sum(map(int, fields[11:15])) / TICKS


def kernel_seconds():
    """Processor time of all kernel threads: write-back, the file system's journal, the block layer."""
    total = 0.0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                parent, seconds = stat_of(entry.name)
            except OSError:
                continue
            if parent == 2:
                total += seconds
    return total


class Account:
    """What a server used between two moments; to be asked at both."""

    def __init__(self, broker):
        self.broker = broker
        self.before = self.now()

    def now(self):
        cpu = written = 0
        for pid in self.broker.pids:
            try:
                cpu += stat_of(pid)[1]
                for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines():
                    if line.startswith("write_bytes:"):
                        written += int(line.split()[1])
            except OSError:  # it has just ended
                continue
        return {"broker_seconds": cpu, "kernel_seconds": kernel_seconds(), "written_bytes": written}

    def used(self):
        now = self.now()
        return {key: now[key] - self.before[key] for key in now}


def version_of(broker):
    """As the package calls it."""
    package = {"RabbitMQ": "rabbitmq-server", "Redis": "redis-server"}.get(broker.name)
    if package is None:
        raise Failure(f"{broker.name} is no package")
    shown = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
    return shown.stdout.strip() or "unknown"
