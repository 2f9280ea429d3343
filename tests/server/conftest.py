"""Fixtures of the server's tests: a server in a thread over a store directory, and over memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.served import Client, served


@pytest.fixture(params=["store", "memory"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """A client of a server whose store is a directory, then of one whose store is memory."""
    lines: list[str] = []
    with served(tmp_path / "store" if request.param == "store" else None, lines=lines) as connected:
        yield connected
    assert not [line for line in lines if '"failure"' in line]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[Client, Path]]:
    """A client of a server over a directory, and the directory."""
    with served(tmp_path / "store") as connected:
        yield connected, tmp_path / "store"
