"""Stands in for the module of the same name in aiormq's and aio-pika's tests.

Those suites ask a container engine for a broker. Here the "container" of the whole session is the broker that
`tests/suites/run` tests, and every further one is a broker process of its own, started from SUITES_BROKER, so that
a test may stop, kill and restart it. It speaks of brokers only and starts no container.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field

IMAGE_OF_THE_SESSION = "session"


class DockerNotAvailableError(Exception):
    """Never raised here; the suites' own set-up names it."""


@dataclass
class DockerHostInfo:
    """Where the suites would find the engine."""

    container_host: str = "127.0.0.1"


@dataclass
class ContainerInfo:
    """What the suites read of a started broker."""

    id: str
    ports: dict
    host: str


@dataclass
class Broker:
    """A broker process that one test owns."""

    ports: dict
    data: str
    process: subprocess.Popen | None = None
    exec_codes: dict = field(default_factory=dict)


brokers: dict[str, Broker] = {}


def parse_docker_host(docker_host=None):
    return DockerHostInfo()


def check_docker_available():
    return DockerHostInfo()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class DockerClient:
    """The engine's calls that the suites make, each done on a process."""

    def __init__(self, docker_host_info=None):
        self.docker_host_info = docker_host_info or DockerHostInfo()
        self.session_broker_given = False

    def run(self, image, ports, environment=None):
        # The session's fixture asks for the TLS port too; a test that wants a broker of its own does not.
        if "5671/tcp" in ports:
            port = int(os.environ["RABBITMQ_5672_TCP"])
            return ContainerInfo(IMAGE_OF_THE_SESSION, {"5672/tcp": port, "5671/tcp": port}, "127.0.0.1")
        broker = Broker({name: free_port() for name in ("amqp", "management", "prometheus")}, tempfile.mkdtemp())
        container_id = f"broker-{broker.ports['amqp']}"
        brokers[container_id] = broker
        self.start(container_id)
        return ContainerInfo(container_id, {"5672/tcp": broker.ports["amqp"]}, "127.0.0.1")

    def start(self, container_id):
        broker = brokers[container_id]
        argv = [part.format(data=broker.data, **broker.ports) for part in json.loads(os.environ["SUITES_BROKER"])]
        log = open(os.path.join(broker.data, "suite.log"), "ab")
        broker.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()

    def _end(self, container_id, sig):
        broker = brokers.get(container_id)
        if broker and broker.process:
            broker.process.send_signal(sig)
            code = broker.process.wait(30)
            broker.process = None
            return code
        return 0

    def kill(self, container_id):
        self._end(container_id, signal.SIGKILL)

    def stop(self, container_id, timeout=10):
        self._end(container_id, signal.SIGTERM)

    def remove(self, container_id):
        self.kill(container_id)
        broker = brokers.pop(container_id, None)
        if broker:
            shutil.rmtree(broker.data, ignore_errors=True)

    def inspect(self, container_id):
        return {"broker": container_id}

    def _parse_ports(self, info):
        return {"5672/tcp": brokers[info["broker"]].ports["amqp"]}

    def _request(self, method, path, body=None):
        """`rabbitmqctl stop_app` and `start_app`, as an orderly stop and a start on the same port and data."""
        kind, name, *rest = path.strip("/").split("/")
        if kind == "containers" and rest == ["exec"]:
            return {"Id": f"{name}~{body['Cmd'][-1]}"}
        container_id, command = name.split("~")
        if rest == ["start"]:
            if command == "stop_app":
                self.stop(container_id)
            elif command == "start_app":
                self.start(container_id)
            return None
        return {"Running": False, "ExitCode": 0}
