"""kill -9 of a push and of a pull, at every request and at random: nothing half done has a final name, and the next run
succeeds.

Two hundred kills at random of sync, pull and push together are in tests/interop, against real registries.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from concurrent.futures import Future
from pathlib import Path

import pytest

from provender.oci import Digest
from support.content import manifest
from support.forked import FORKS, Child
from support.kills import ATTACH, BIG, FILES, Killable, PullScene, PushScene, RandomKills
from support.registry import Do, TestRegistry
from support.registry_client import Connector
from support.workspace import publish

MIB = 1 << 20
HUGE = hashlib.shake_256(b"huge").digest(66 * MIB + 5)
RANDOM = 6

# What is called, on which path, for the how manyth time, and on which side of the call the process dies.
PULL_POINTS = {
    "before the working directory": ("mkdir", r"\.provender-pull-", 1, "before"),
    "behind the working directory": ("mkdir", r"\.provender-pull-", 1, "after"),
    "before a blob is in the cache": ("replace", r"cache/blobs/", 2, "before"),
    "behind a blob in the cache": ("replace", r"cache/blobs/", 2, "after"),
    "behind a file that was made": ("open", r"^file-3$", 1, "after"),
    "before the first file moves": ("rename", r"^(file|big)", 1, "before"),
    "behind the first file that moved": ("rename", r"^(file|big)", 1, "after"),
    "before the old file is replaced": ("rename", r"^file-3 file-3$", 1, "before"),
    "behind the old file that was replaced": ("rename", r"^file-3 file-3$", 1, "after"),
    "before the last file moves": ("rename", r"^(file|big)", 7, "before"),
    "before the working directory goes": ("rmdir", r"\.provender-pull-", 1, "before"),
}
PUSH_POINTS = {
    "before the working directory": ("mkdir", r"\.provender-pull-", 1, "before"),
    "behind the working directory": ("mkdir", r"\.provender-pull-", 1, "after"),
    "before the working directory goes": ("rmdir", r"\.provender-pull-", 1, "before"),
}


def die(command: Killable, *point: str) -> None:
    """A run that dies at the point."""
    process = command.start(*point)
    _, said = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, (process.returncode, said)


def die_at(command: Killable, registry: TestRegistry, number: int, *, performed: bool) -> bool:
    """A run that dies while its request of that number is answered; False if it had fewer requests."""
    started: Future[Child] = Future()

    def kill() -> None:
        started.result(60).kill()
        started.result().wait()

    registry.fault(("*", ""), action=Do(kill, performed), skip=number)
    process = command.start()
    started.set_result(process)
    _, said = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), said
    registry.forget_faults()
    return process.returncode != 0


@pytest.fixture
def pulling(registry: TestRegistry, tmp_path: Path) -> PullScene:
    files = {**FILES, "big": BIG}
    publish(registry, "acme/app", "1.0", files)
    return PullScene(tmp_path, f"{registry.host}/acme/app:1.0", files)


@pytest.fixture
def pushing(registry: TestRegistry, tmp_path: Path) -> PushScene:
    return PushScene(tmp_path, registry, "acme/app", {name: FILES[name] for name in ("file-1", "file-2")})


def expected(pushing: PushScene, registry: TestRegistry) -> bytes:
    """The manifest of a push that nothing stops; the registry is empty again afterwards."""
    pushing.run_again()
    new = pushing.tagged("1.0")
    assert new is not None
    registry.content.repositories.clear()
    registry.requests.clear()
    return new


@pytest.mark.parametrize("point", PULL_POINTS)
def test_a_pull_that_is_killed_needs_no_repair(pulling: PullScene, point: str) -> None:
    function, pattern, number, when = PULL_POINTS[point]
    die(pulling, function, pattern, str(number), when)
    pulling.check_after_kill(point)
    pulling.run_again()
    pulling.check_done(point)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_pull_into_a_new_directory_that_is_killed_made_all_of_it_or_nothing(pulling: PullScene, when: str) -> None:
    shutil.rmtree(pulling.out)
    die(pulling, "rename", r"\.provender-pull-", "1", when)
    assert pulling.out.exists() == (when == "after")
    if when == "after":
        assert {path.name: path.read_bytes() for path in pulling.out.iterdir()} == pulling.files
    pulling.run_again()
    assert {path.name: path.read_bytes() for path in pulling.out.iterdir()} == pulling.files
    assert list(pulling.directory.glob(".provender-*")) == []


@pytest.mark.parametrize("point", PUSH_POINTS)
def test_a_push_that_is_killed_leaves_nothing_here(pushing: PushScene, registry: TestRegistry, point: str) -> None:
    new = expected(pushing, registry)
    function, pattern, number, when = PUSH_POINTS[point]
    die(pushing, function, pattern, str(number), when)
    pushing.check_after_kill(point, None, new)
    pushing.run_again()
    pushing.check_done(point, new)


@pytest.mark.parametrize("performed", [False, True])
def test_a_push_that_is_killed_at_any_request_leaves_the_tags_old_or_new(
    pushing: PushScene, registry: TestRegistry, performed: bool
) -> None:
    new = expected(pushing, registry)
    old_digest = registry.push_artifact("acme/app", "1.0", [b"old"])
    old = registry.manifest("acme/app", old_digest)
    assert old is not None
    number = 0
    while True:
        registry.content.repositories.clear()
        registry.push_artifact("acme/app", "1.0", [b"old"])
        registry.push_artifact("acme/app", "latest", [b"old"])
        # Each at another request, to the last one: every third one suffices here.
        if not die_at(pushing, registry, number, performed=performed):
            break
        pushing.check_after_kill((number, performed), old, new)
        pushing.run_again()
        pushing.check_done((number, performed), new)
        number += 3
    assert number >= 10


@pytest.mark.parametrize("performed", [False, True])
def test_a_pull_that_is_killed_at_any_request_needs_no_repair(
    pulling: PullScene, registry: TestRegistry, performed: bool
) -> None:
    number = 0
    while die_at(pulling, registry, number, performed=performed):
        pulling.check_after_kill((number, performed))
        pulling.run_again()
        pulling.check_done((number, performed))
        pulling.reset()
        number += 3
    assert number >= 6


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_pull_of_a_large_file_goes_on_where_it_was(registry: TestRegistry, tmp_path: Path, when: str) -> None:
    """Larger than what the cache keeps; killed while it notes for the fourth time how far it came."""
    files = {"huge.bin": HUGE, "file-3": FILES["file-3"]}
    publish(registry, "acme/app", "1.0", files)
    pulling = PullScene(tmp_path, f"{registry.host}/acme/app:1.0", files)
    die(pulling, "open", r"\.mark$", "4", when)
    pulling.check_after_kill(when)
    registry.requests.clear()
    pulling.run_again()
    pulling.check_done(when)
    ranges = [item.headers["range"] for item in registry.asked("GET", "/blobs/") if "range" in item.headers]
    assert len(ranges) == 1
    assert int(ranges[0].removeprefix("bytes=").rstrip("-")) >= 24 * MIB
    assert not [path for path in (tmp_path / "cache" / "partial").rglob("*") if path.is_file()]


class Attaching(Killable):
    """A push of something that names a subject, to a registry without the referrers API."""

    def __init__(self, directory: Path, host: str) -> None:
        super().__init__(directory, [])
        (directory / "note").write_bytes(b"a note")
        self.host = host

    def start(self, *point: str) -> Child:
        assert not point
        return FORKS.start(self.host, "note", "application/vnd.test.note", cwd=self.directory, entry=ATTACH)


@pytest.mark.parametrize("performed", [False, True])
def test_a_fallback_tag_is_old_or_new_whenever_the_writer_is_killed(
    registry: TestRegistry, connect: Connector, tmp_path: Path, performed: bool
) -> None:
    """What it lists is there, what it listed stays, and the next run adds its entry once."""
    repository = connect(registry).repository("acme/app")
    attaching = Attaching(tmp_path, registry.host)
    number = 0
    while True:
        registry.content.repositories.clear()
        digest = Digest(registry.push_artifact("acme/app", "1.0", [b"x"]))
        subject = repository.resolve("1.0").descriptor
        first = manifest("first", subject=subject)
        repository.push_document(first)
        registry.requests.clear()
        if not die_at(attaching, registry, number, performed=performed):
            break
        listed = [item.digest for item in repository.referrers(digest)]
        assert listed.count(first.digest) == 1
        assert len(listed) <= 2
        for item in listed:
            assert registry.manifest("acme/app", item) is not None, (number, performed)
        process = attaching.start()
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        after = [item.artifact_type for item in repository.referrers(digest)]
        assert sorted(after) == sorted({*after, "application/vnd.test.note"}), (number, performed)
        assert len(after) == 2
        number += 2
    assert number >= 8


def test_pulls_killed_at_any_time_need_no_repair(pulling: PullScene) -> None:
    kills = RandomKills(pulling, seed=1)
    for number in range(RANDOM):
        pulling.reset()
        kills.kill(pulling)
        pulling.check_after_kill(number)
        pulling.run_again()
        pulling.check_done(number)
    assert kills.killed


def test_pushes_killed_at_any_time_need_no_repair(pushing: PushScene, registry: TestRegistry) -> None:
    new = expected(pushing, registry)
    kills = RandomKills(pushing, seed=2)
    for number in range(RANDOM):
        registry.content.repositories.clear()
        kills.kill(pushing)
        pushing.check_after_kill(number, None, new)
        pushing.run_again()
        pushing.check_done(number, new)
    assert kills.killed


LAYOUT_POINTS = {
    "before the directory of blobs": ("mkdir", r"blobs", 1, "before"),
    "behind the directory of blobs": ("mkdir", r"blobs", 1, "after"),
    "before a blob has its name": ("replace", r"/blobs/", 2, "before"),
    "behind a blob that has its name": ("replace", r"/blobs/", 2, "after"),
    "before the manifest has its name": ("replace", r"/blobs/", 4, "before"),
    "before the index": ("replace", r"/index\.json$", 2, "before"),
    "behind the index": ("replace", r"/index\.json$", 2, "after"),
}


@pytest.mark.parametrize("point", LAYOUT_POINTS)
def test_a_push_to_a_layout_that_is_killed_leaves_a_layout(tmp_path: Path, point: str) -> None:
    """What it lists is there, whole; the next push succeeds, and nothing of the killed one is visible."""
    store = tmp_path / "store"
    pushing = Killable(tmp_path, ["push", f"layout:{store}:1.0", "file-1", "file-2", "--no-progress"])
    for name in ("file-1", "file-2"):
        (tmp_path / name).write_bytes(FILES[name])
    function, pattern, number, when = LAYOUT_POINTS[point]
    die(pushing, function, pattern, str(number), when)
    if (store / "index.json").exists():
        for entry in json.loads((store / "index.json").read_bytes())["manifests"]:
            check_layout(store, entry["digest"])
    pushing.run_again()
    index = json.loads((store / "index.json").read_bytes())
    assert [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]] == ["1.0"]
    check_layout(store, index["manifests"][0]["digest"])


def check_layout(store: Path, digest: str) -> None:
    """The manifest is there, with everything that it lists, each with its digest."""

    def content(wanted: str) -> bytes:
        raw = (store / "blobs" / "sha256" / wanted.partition(":")[2]).read_bytes()
        assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == wanted
        return raw

    view = json.loads(content(digest))
    for item in (view["config"], *view["layers"]):
        content(item["digest"])
