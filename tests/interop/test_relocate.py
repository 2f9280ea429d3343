"""relocate against real registries: the same graph at the end, killed a hundred times on the way, never half a tag."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from interop.programs import Program
from interop.registries import Registries, Registry
from provender.oci import Digest
from provender.relocate.journal import Journal
from provender.relocate.plan import RelocationPlan
from provender.storage.layout import LayoutStorage
from provender.storage.registry import HttpTransport, NoCredentials, RegistryClient, RegistryRepository
from support.command import succeed_here
from support.graphs import SBOM, SIGNATURE, push, relations, walk
from support.kills import Killable

pytestmark = pytest.mark.interop

_KILLS = 100
_MOST_RUNS = 400
_TAGS = 12


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    opened = HttpTransport({})
    yield opened
    opened.close()


def repository_at(transport: HttpTransport, host: str, name: str) -> RegistryRepository:
    client = RegistryClient(host, transport=transport, credentials=NoCredentials(), plain_http=True)
    return client.repository(name)


def test_the_vectors_go_from_layout_to_registry_to_layout(
    registry: Registry, transport: HttpTransport, repository: str, vectors: Path, tmp_path: Path, oras: Program
) -> None:
    name = repository.partition("/")[2]
    layout = tmp_path / "artifacts"
    shutil.copytree(vectors / "oras-layouts" / "artifacts", layout)
    expected = relations(walk(LayoutStorage(layout), "foobar", "multi", "v1.3.8"))
    wishes = [f"layout:artifacts:{tag}" for tag in ("foobar", "multi", "v1.3.8")]
    succeed_here("relocate", "plan", *wishes, "--map", f"layout:artifacts={repository}", "-o", "1.json", cwd=tmp_path)
    succeed_here("relocate", "apply", "1.json", cwd=tmp_path)
    succeed_here("relocate", "verify", "1.json", "--deep", cwd=tmp_path)
    there = repository_at(transport, registry.host, name)
    assert relations(walk(there, "foobar", "multi", "v1.3.8")) == expected
    found = oras.run("discover", "--plain-http", "--format", "json", f"{repository}:foobar")
    assert "e2c6633a" in found
    assert "0cb8c4da" in found
    succeed_here(
        "relocate", "plan", f"{repository}:*", "--map", f"{repository}=layout:back", "-o", "2.json", cwd=tmp_path
    )
    succeed_here("relocate", "apply", "2.json", cwd=tmp_path)
    back = LayoutStorage(tmp_path / "back")
    assert relations(walk(back, "foobar", "multi", "v1.3.8")) == expected


class _Watcher:
    """Looks at the tags of a repository all the time: whatever a tag names has to be whole, with its evidence."""

    def __init__(self, storage: RegistryRepository, expected: dict[str, frozenset[Digest]]) -> None:
        self._storage = storage
        self._expected = expected
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen: Counter[str] = Counter()
        self.torn: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            for tag in self._expected:
                if self._storage.digest_of(tag) is None:
                    continue
                graph = walk(self._storage, tag)
                there = frozenset(graph.by_digest)
                blobs = [node for node in graph.blobs if not self._storage.exists(node.content)]
                self.seen[tag] += 1
                if not there >= self._expected[tag] or blobs:
                    self.torn.append(tag)


@pytest.mark.parametrize("kind", ["distribution", "olareg-dir"])
def test_an_apply_that_is_killed_a_hundred_times_gets_there_and_no_tag_is_ever_torn(
    kind: str, registries: Registries, transport: HttpTransport, tmp_path: Path
) -> None:
    registry = registries.get(kind)
    source = LayoutStorage(tmp_path / "source", create=True)
    expected: dict[str, frozenset[Digest]] = {}
    for number in range(_TAGS):
        root = push(source, f"root {number}", f"1.{number}", layers=[bytes([number, at]) * 20_000 for at in range(4)])
        sbom = push(source, f"sbom {number}", subject=root.descriptor, artifact_type=SBOM)
        signature = push(source, f"signature {number}", subject=sbom.descriptor, artifact_type=SIGNATURE)
        expected[f"1.{number}"] = frozenset({root.digest, sbom.digest, signature.digest})
    chance, whole_s = random.Random(kind), 0.0
    killed = runs = rounds = 0
    while killed < _KILLS // 2:
        name = f"killed/{kind}-{rounds}"
        rounds += 1
        arguments = ["relocate", "plan", "layout:source:*", "--map", f"layout:source={registry.host}/{name}"]
        succeed_here(*arguments, "-o", "plan.json", cwd=tmp_path)
        plan = RelocationPlan.load(tmp_path / "plan.json")
        command = Killable(tmp_path, ["relocate", "apply", "plan.json", "--no-progress", "--concurrency", "3"])
        with _Watcher(repository_at(transport, registry.host, name), expected) as watcher:
            is_done = not whole_s
            began = time.monotonic()
            while not is_done and killed < _KILLS // 2:
                runs += 1
                is_done = not _kill(command, chance.uniform(0.3, 1.0) * whole_s)
                killed += not is_done
            succeed_here(*command.arguments, cwd=tmp_path)
            whole_s = whole_s or time.monotonic() - began + 0.3
        assert watcher.torn == []
        succeed_here("relocate", "verify", "plan.json", "--deep", cwd=tmp_path)
        with Journal(tmp_path / "plan.json.journal", plan.digest) as journal:
            noted = {(entry.digest, entry.is_document) for entry in journal.entries()}
        assert noted == {(node.digest, node.is_document) for leg in plan.legs for node in leg.graph.nodes}
        lines = (tmp_path / "plan.json.journal").read_bytes().splitlines()
        nodes = [line for line in lines[1:] if b'"is_end"' not in line]
        assert len(nodes) == len(noted), "something that was finished was sent again"
        (tmp_path / "plan.json.journal").unlink()
        assert runs < _MOST_RUNS


def _kill(command: Killable, after_s: float) -> bool:
    """One run that is killed after so long; False if it was done before."""
    # From scratch, not forked: the times of the kills count on that.
    process = subprocess.Popen(
        [sys.executable, "-m", "provender", *command.arguments],
        cwd=command.directory,
        env={**os.environ, **command.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    time.sleep(after_s)
    process.kill()
    _, said = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), said.decode()
    return process.returncode != 0
