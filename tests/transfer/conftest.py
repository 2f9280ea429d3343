"""Fixtures for the tests of discovery and copying."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.registry_client import Repositories


@pytest.fixture
def repository() -> Iterator[Repositories]:
    """Gives repositories of test registries; their connections are closed at the end."""
    repositories = Repositories()
    yield repositories
    repositories.close()
