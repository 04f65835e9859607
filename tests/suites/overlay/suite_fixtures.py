"""Fixtures that aiormq's tests use and its published archive lacks: where the broker is."""
import pytest
from yarl import URL

from tests.docker_client import DockerClient


@pytest.fixture(scope="session")
def rabbitmq_container():
    return DockerClient().run("session", ["5672/tcp", "5671/tcp"])


@pytest.fixture(scope="session")
def amqp_direct_url(rabbitmq_container):
    return URL.build(
        scheme="amqp",
        user="guest",
        password="guest",
        host=rabbitmq_container.host,
        port=rabbitmq_container.ports["5672/tcp"],
        path="//",
    )
