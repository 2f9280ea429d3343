"""Fixtures for the registry client: a transport, a registry, and clients whose clocks do not wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provender.storage.registry import RegistryRepository
from support.certificates import Certificates, make_certificates
from support.registry import TestRegistry
from support.registry_client import Connector


@pytest.fixture
def connect() -> Iterator[Connector]:
    """Makes clients; their connections are closed at the end."""
    connector = Connector()
    yield connector
    connector.transport.close()


@pytest.fixture
def registry() -> Iterator[TestRegistry]:
    """A registry that wants no credentials."""
    with TestRegistry() as running:
        yield running


@pytest.fixture
def repository(registry: TestRegistry, connect: Connector) -> RegistryRepository:
    """The repository acme/app of the open registry."""
    return connect(registry).repository("acme/app")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate authority and a server certificate for 127.0.0.1."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))
