"""kill -9 of pulls and pushes at random times, against real registries: nothing half done, and the next run succeeds.

With those of tests/faults (sync, and every request of a pull and a push) more than two hundred.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from interop.registries import Registry
from provender.errors import NotFound
from provender.oci import Descriptor, Digest
from provender.storage.registry import HttpTransport, NoCredentials, RegistryClient
from provender.storage.verify import read_all
from support.command import succeed
from support.kills import BIG, FILES, PullScene, PushScene, RandomKills

pytestmark = pytest.mark.interop

KILLS = 10


class Real:
    """What a registry holds, asked over its API."""

    def __init__(self, host: str, transport: HttpTransport) -> None:
        self.host = host
        self._client = RegistryClient(host, transport=transport, credentials=NoCredentials())

    def manifest(self, repository: str, target: str) -> bytes | None:
        try:
            return self._client.repository(repository).resolve(target).raw
        except NotFound:
            return None

    def blob(self, repository: str, digest: str) -> bytes | None:
        place = self._client.repository(repository)
        size = next(item.size for item in self._layers(repository) if item.digest == digest)
        try:
            with place.fetch(Descriptor(media_type="application/x", digest=Digest(digest), size=size)) as reader:
                return read_all(reader, size)
        except NotFound:
            return None

    def _layers(self, repository: str) -> list[Descriptor]:
        place = self._client.repository(repository)
        found: list[Descriptor] = []
        for tag in place.tags():
            # distribution lists a tag that it is still writing, for the killed client, before it can be resolved.
            with suppress(NotFound):
                manifest = place.resolve(tag).manifest()
                found += [*manifest.layers, *([manifest.config] if manifest.config else [])]
        return found


def test_pulls_that_are_killed_need_no_repair(registry: Registry, repository: str, tmp_path: Path) -> None:
    files = {**FILES, "big": BIG}
    made = tmp_path / "made"
    made.mkdir()
    for name, content in files.items():
        (made / name).write_bytes(content)
    succeed("push", f"{repository}:1.0", *sorted(files), cwd=made)
    pulling = PullScene(tmp_path, f"{repository}:1.0", files)
    kills = RandomKills(pulling, seed=len(registry.kind))
    for number in range(KILLS):
        pulling.reset()
        kills.kill(pulling)
        pulling.check_after_kill(number)
        pulling.run_again()
        pulling.check_done(number)
    assert kills.killed


def test_pushes_that_are_killed_leave_whole_artifacts(registry: Registry, repository: str, tmp_path: Path) -> None:
    name = repository.partition("/")[2]
    files = {"file-1": FILES["file-1"], "file-2": FILES["file-2"], "big": BIG}
    with HttpTransport({}) as transport:
        real = Real(registry.host, transport)
        pushing = PushScene(tmp_path / "first", real, name, files)
        kills = RandomKills(pushing, seed=len(registry.kind))
        new = pushing.tagged("1.0")
        assert new is not None
        for number in range(KILLS):
            pushing = PushScene(tmp_path / str(number), real, f"{name}-{number}", files)
            kills.kill(pushing)
            pushing.check_after_kill(number, None, new)
            pushing.run_again()
            pushing.check_done(number, new)
    assert kills.killed
