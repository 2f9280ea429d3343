"""Fixtures for the fault matrix: a registry, clients whose clocks do not wait, a cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.storage.cache import BlobCache
from provender.storage.registry import RegistryRepository
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
    """The repository acme/app of the registry."""
    return connect(registry).repository("acme/app")


@pytest.fixture
def cache(tmp_path: Path) -> BlobCache:
    """A blob cache with nothing in it."""
    return BlobCache(tmp_path / "cache", max_bytes=1 << 30)
