"""Fixtures for every test: an environment without the user's own credentials, cache and configuration."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.forked import FORKS

# No deadline: the machine may be busy. No database: a failure is kept as an explicit example, in the test.
settings.register_profile("provender", deadline=None, database=None)
settings.load_profile("provender")

# A suite that runs in the background inherits that Ctrl-C is ignored; what it starts is interrupted all the same.
signal.signal(signal.SIGINT, signal.default_int_handler)

_VARIABLES = (
    "DOCKER_AUTH_CONFIG",
    "REGISTRY_AUTH_FILE",
    "SOURCE_DATE_EPOCH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "CI",
    "GITHUB_ACTIONS",
)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, with every variable that reaches outside of it unset."""
    path = tmp_path_factory.mktemp("home")
    for name in [*_VARIABLES, *(name for name in os.environ if name.startswith("PROVENDER_"))]:
        if name != "PROVENDER_VECTORS":
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setenv("DOCKER_CONFIG", str(path / ".docker"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(path / ".cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(path / ".config"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", os.devnull)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return path


@pytest.fixture
def vectors() -> Path:
    """The folder of other tools' test data; a test that asks for it is skipped where there is none."""
    named = os.environ.get("PROVENDER_VECTORS")
    path = Path(named) if named else Path(__file__).parents[1] / ".." / "shared" / "vectors"
    if not path.is_dir():
        pytest.skip("the folder of test vectors is absent (set PROVENDER_VECTORS)")
    return path.resolve()


@pytest.fixture(scope="session", autouse=True)
def _forks() -> Iterator[None]:
    """Ends what processes were forked from."""
    yield
    FORKS.close()
