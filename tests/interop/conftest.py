"""Fixtures of the interoperability tests, and the matrix of registries and scenarios at the session's end."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from interop.dataset_matrix import write_matrix
from interop.programs import Program, program
from interop.registries import ABSENT, KINDS, WITH_PASSWORDS, Registries, Registry
from interop.trees import write_sample
from support.served import server_process

_CELL = "interop-cell"
_PEER = "interop-peer"
_NOTE = "interop-note"
_ANY = "(any)"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registries]:
    """All the real registries, each started when it is first asked for."""
    pool = Registries(tmp_path_factory.mktemp("registries"))
    try:
        yield pool
    finally:
        pool.stop()


@pytest.fixture(params=KINDS)
def registry(request: pytest.FixtureRequest, registries: Registries) -> Registry:
    """Each kind of registry in turn, without authentication."""
    return _noted(request, registries.get(request.param))


@pytest.fixture(params=WITH_PASSWORDS)
def guarded(request: pytest.FixtureRequest, registries: Registries) -> Registry:
    """Each kind that can ask for a password, asking for it."""
    return _noted(request, registries.get(request.param, auth=True))


@pytest.fixture(params=[*KINDS, "own"])
def host(request: pytest.FixtureRequest, registries: Registries, tmp_path: Path) -> Iterator[str]:
    """Each kind of registry, and our own server."""
    if request.param != "own":
        yield registries.get(request.param).host
        return
    with server_process(tmp_path / "own-logs", tmp_path / "own-store") as server:
        yield server.host


@pytest.fixture
def place(request: pytest.FixtureRequest, host: str) -> str:
    """A repository that only this test uses."""
    return f"{host}/{unique(request)}"


@pytest.fixture
def repository(request: pytest.FixtureRequest, registry: Registry) -> str:
    """`host:port/name` of a repository that only this test uses."""
    return f"{registry.host}/{unique(request)}"


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """The directory of files that tests publish."""
    return write_sample(tmp_path / "sample")


@pytest.fixture
def oras(request: pytest.FixtureRequest) -> Program:
    return asked(request, "oras")


@pytest.fixture
def crane(request: pytest.FixtureRequest) -> Program:
    return asked(request, "crane")


@pytest.fixture
def regctl(request: pytest.FixtureRequest) -> Program:
    return asked(request, "regctl")


@pytest.fixture
def helm(request: pytest.FixtureRequest) -> Program:
    return asked(request, "helm")


@pytest.fixture
def skopeo(request: pytest.FixtureRequest) -> Program:
    return asked(request, "skopeo")


@pytest.fixture
def imgpkg(request: pytest.FixtureRequest) -> Program:
    return asked(request, "imgpkg")


@pytest.fixture
def flux_artifact(request: pytest.FixtureRequest) -> Program:
    """A small program over the library that Flux pushes and pulls with."""
    return asked(request, "flux-artifact")


@pytest.fixture
def oras_py(request: pytest.FixtureRequest) -> Program:
    """The Python interpreter that can import the library oras."""
    return asked(request, "oras-py")


def unique(request: pytest.FixtureRequest) -> str:
    """The name of a repository that nothing else uses."""
    words = re.sub(r"[^a-z0-9]+", "-", request.function.__name__.removeprefix("test_").lower()).strip("-")
    return f"interop/{words[:60].strip('-')}-{next(_numbers)}"


def asked(request: pytest.FixtureRequest, name: str) -> Program:
    """The program, noted as one that took part; without it the test is skipped."""
    found = program(name)
    request.node.user_properties.append((_PEER, found.title))
    return found


def _noted(request: pytest.FixtureRequest, registry: Registry) -> Registry:
    request.node.user_properties.append((_PEER, registry.program.title))
    request.node.stash[_RUNNING] = (registry, registry.log_size())
    return registry


_RUNNING = pytest.StashKey[tuple[Registry, int]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the registry wrote during a test that failed."""
    report = yield
    if report.failed and _RUNNING in item.stash:
        registry, offset = item.stash[_RUNNING]
        report.sections.append((f"log of {registry.program.title} ({registry.kind})", registry.log_since(offset)))
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note for each test its cell of the matrix: reports carry this from a worker to the session that sums up."""
    for item in items:
        if item.path.parent != Path(__file__).parent or not isinstance(item, pytest.Function):
            continue
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        kind = parameters.get("registry") or parameters.get("guarded") or parameters.get("host") or _ANY
        item.user_properties.append((_CELL, f"{item.path.stem.removeprefix('test_')}|{kind}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print scenario by registry: passed/failed/skipped, and the peers that took part."""
    cells: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    used: set[str] = set()
    noted: list[str] = []
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            notes = getattr(report, "user_properties", [])
            used.update(title for key, title in notes if key == _PEER)
            noted.extend(text for key, text in notes if key == _NOTE)
            for key, cell in notes:
                if key == _CELL:
                    scenario, _, kind = cell.partition("|")
                    cells[scenario, kind]["failed" if outcome == "error" else outcome] += 1
    if not cells:
        return
    columns = [*KINDS, *(["own"] if any(kind == "own" for _, kind in cells) else []), _ANY]
    width = max(len(scenario) for scenario, _ in cells) + 2
    terminalreporter.section("interoperability: passed/failed/skipped")
    terminalreporter.write_line(" " * width + "".join(f"{kind:>18}" for kind in columns))
    for scenario in dict.fromkeys(scenario for scenario, _ in sorted(cells)):
        row = "".join(f"{_shown(cells.get((scenario, kind))):>18}" for kind in columns)
        terminalreporter.write_line(f"{scenario:<{width}}{row}")
    terminalreporter.write_line("peers: " + (", ".join(sorted(used)) or "none"))
    for text in noted:
        terminalreporter.write_line(text)
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_line(f"passed or failed on a second try only: {report.nodeid}: {_failure(report)}")
    for reason in ABSENT.values():
        terminalreporter.write_line(f"not run: {reason}")
    write_matrix(terminalreporter, terminalreporter.stats)


def _failure(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr)[:600]


def _shown(counts: Counter[str] | None) -> str:
    if counts is None:
        return "-"
    return f"{counts['passed']}/{counts['failed']}/{counts['skipped']}"
