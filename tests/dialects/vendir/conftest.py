"""Fixtures of vendir's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.vendir import VendirProject


@pytest.fixture
def project(tmp_path: Path) -> VendirProject:
    """An empty working directory."""
    directory = tmp_path / "project"
    directory.mkdir()
    return VendirProject(directory)
