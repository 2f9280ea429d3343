"""Fixtures of the server's tests: a server in a thread over a store directory, and over memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.served import Client, served


@contextmanager
def _unfailing(path: Path | None) -> Iterator[Client]:
    lines: list[str] = []
    with served(path, lines=lines) as connected:
        yield connected
    assert not [line for line in lines if '"failure"' in line]


@pytest.fixture(params=["store", "memory"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """A client of a server of its own whose store is a directory, then of one whose store is memory."""
    with _unfailing(tmp_path / "store" if request.param == "store" else None) as connected:
        yield connected


@pytest.fixture(params=["store", "memory"], scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """As `client`, one server for all tests of a module, which do not mind what the others pushed."""
    path = tmp_path_factory.mktemp("shared") / "store"
    with _unfailing(path if request.param == "store" else None) as connected:
        yield connected


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[Client, Path]]:
    """A client of a server over a directory, and the directory."""
    with served(tmp_path / "store") as connected:
        yield connected, tmp_path / "store"
