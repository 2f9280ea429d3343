"""Fixtures of the command line's tests: a test registry, an empty project, and one that was synced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.registry import TestRegistry
from support.workspace import Workspace, publish


@pytest.fixture
def registry() -> Iterator[TestRegistry]:
    with TestRegistry() as server:
        yield server


@pytest.fixture
def project(registry: TestRegistry, tmp_path: Path) -> Workspace:
    """An empty directory beside the registry."""
    directory = tmp_path / "project"
    directory.mkdir()
    return Workspace(directory, registry, tmp_path / "cache")


@pytest.fixture
def synced(project: Workspace) -> Workspace:
    """A project with one dependency, `good`, that was synced; what the registry was asked for it is forgotten."""
    publish(project.registry, "acme/good", "1.0.0", {"a.txt": b"alpha\n", "sub/b.txt": b"beta\n"})
    project.depend(good="acme/good:1.0.0")
    project.prepare("sync")
    project.registry.requests.clear()
    return project
