"""The brokers that `tests/suites/run` tests: one that it starts for a suite, or one that is given to it."""
import base64
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from processes import FOLDERS, RUNNING, Failed

START_SECONDS = 60  # for a broker to answer
STOP_SECONDS = 15  # for it to end


class Address:
    """Where a broker listens, and its guest user."""

    def __init__(self, url, management=None):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 5672
        self.url = f"amqp://guest:guest@{self.host}:{self.port}/%2f"
        self.management = management

    def start_frame(self):
        """The connection.start method that the broker greets with, as bytes."""
        with socket.create_connection((self.host, self.port), 5) as s:
            s.settimeout(5)
            s.sendall(b"AMQP\0\0\x09\x01")
            read = s.makefile("rb")
            size = struct.unpack(">BHI", read.read(7))[2]
            return read.read(size)

    def product(self):
        """The product name in its server properties."""
        found = re.search(rb"\x07productS(....)", self.start_frame(), re.DOTALL)
        if not found:
            return "unnamed"
        frame = found.string[found.end():]
        return frame[: struct.unpack(">I", found.group(1))[0]].decode()

    def api(self, method, path, body=None):
        """A request to the HTTP API, as guest."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.management}/api/{path}", data, method=method)
        request.add_header("content-type", "application/json")
        request.add_header("authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def put(self, path, body):
        """Make or replace something."""
        self.api("PUT", path, body)

    def delete(self, path):
        """Delete something that may not exist."""
        try:
            self.api("DELETE", path)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Warren:
    """A broker started for one suite on a temporary folder and free ports, and ended after it."""

    ARGUMENTS = ["serve", "--data-dir", "{data}", "--listen", "127.0.0.1:{amqp}",
                 "--management-listen", "127.0.0.1:{management}", "--prometheus-listen", "127.0.0.1:{prometheus}"]

    def __init__(self, binary, settings, log):
        self.argv, self.log = [str(binary), *self.ARGUMENTS], log
        # The broker reads WARREN_… as its settings, and refuses one that it does not know.
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("WARREN_")} | settings

    def __enter__(self):
        self.data = tempfile.mkdtemp(prefix="warren-suite-")
        FOLDERS.add(self.data)
        amqp, management, prometheus = free_ports(3)
        argv = [a.format(data=self.data, amqp=amqp, management=management, prometheus=prometheus) for a in self.argv]
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env, start_new_session=True
            )
        RUNNING.add(self.process)
        address = Address(f"amqp://127.0.0.1:{amqp}", f"http://127.0.0.1:{management}")
        try:
            self.wait_until_it_answers(address)
        except BaseException:
            self.__exit__()
            raise
        return address

    def wait_until_it_answers(self, address):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Failed(f"the broker ended with {self.process.returncode} at its start; see {self.log}")
            try:
                address.start_frame()
                socket.create_connection((address.host, int(address.management.rsplit(":", 1)[1])), 5).close()
                return
            except (OSError, struct.error):
                time.sleep(0.05)  # nothing of the broker's can be waited on before it listens
        raise Failed(f"the broker did not answer within {START_SECONDS} s; see {self.log}")

    def died(self):
        return self.process.poll()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        RUNNING.discard(self.process)
        shutil.rmtree(self.data, ignore_errors=True)
        FOLDERS.discard(self.data)


class Given:
    """A broker that somebody else runs."""

    argv = None

    def __init__(self, address):
        self.address = address

    def __enter__(self):
        return self.address

    def __exit__(self, *_):
        pass

    def died(self):
        return None
