"""Blobs that are sent while they are hashed: what arrives is the content under its digest, whatever happens."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from provender.artifact.pack import Source
from provender.artifact.publish import PublishOptions, publish
from provender.errors import Conflict, IntegrityError, NotFound
from provender.oci import Descriptor, Digest
from provender.storage.hashing import HashingFile, settled_size
from provender.storage.registry import RegistryRepository, UploadSettings
from provender.storage.registry.quirks import HostQuirks
from provender.storage.verify import BytesReader
from provender.transfer.pool import Cancellation, Cancelled
from provender.transfer.progress import NO_PROGRESS, WatchedHashing
from support.registry import Action, Do, Reset, Status, TestRegistry
from support.registry_client import Connector

MIB = 1 << 20
CONTENT = hashlib.shake_256(b"early").digest(3 * MIB + 1000)
BLOB = Descriptor.of(CONTENT, "application/octet-stream")
END = MIB
LARGE = UploadSettings(large_bytes=MIB)


class Hashing(BytesReader):
    """Content whose digest is there once `after` bytes were read, or when it is waited for."""

    def __init__(self, after: int, digest: Digest = BLOB.digest) -> None:
        super().__init__(CONTENT)
        self.passed = 0
        self._after = after
        self._digest = digest

    @property
    def size(self) -> int:
        return len(CONTENT)

    def read(self, size: int = -1, /) -> bytes:
        chunk = super().read(size)
        self.passed += len(chunk)
        return chunk

    def skip(self, n: int) -> None:
        super().read(n)

    def digest_within(self, seconds: float) -> Digest | None:
        return self._digest if seconds or self.passed >= self._after else None

    def vouches(self, digest: Digest) -> bool:
        return digest == self._digest


@pytest.fixture
def large(registry: TestRegistry, connect: Connector) -> RegistryRepository:
    """The repository acme/app, to which a blob of 1 MiB is large."""
    return connect(registry, upload=LARGE).repository("acme/app")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "blob").write_bytes(CONTENT)
    return tmp_path / "blob"


def stored(registry: TestRegistry) -> bool:
    return registry.blob("acme/app", BLOB.digest) == CONTENT


def methods(registry: TestRegistry) -> list[str]:
    return [item.method for item in registry.requests]


def test_a_blob_goes_up_before_its_digest_is_known(registry: TestRegistry, large: RegistryRepository) -> None:
    assert large.push_early(Hashing(after=len(CONTENT))) == BLOB.digest
    assert stored(registry)
    assert methods(registry) == ["POST", "PATCH", "PUT"]
    # Its end goes with the digest alone.
    assert [len(item.body) for item in registry.requests] == [0, len(CONTENT) - END, END]
    assert registry.asked("PUT")[0].headers["content-range"] == f"{len(CONTENT) - END}-{len(CONTENT) - 1}"
    assert registry.content.uploads == set()


def test_a_file_is_hashed_meanwhile(registry: TestRegistry, large: RegistryRepository, path: Path) -> None:
    with HashingFile(str(path)) as file:
        assert large.push_early(file) == BLOB.digest
        assert file.vouches(BLOB.digest)
    assert stored(registry)
    assert registry.count("PUT") == 1


@pytest.mark.parametrize("after", [0, MIB])
def test_once_the_digest_is_known_the_registry_is_asked_for_it(
    registry: TestRegistry, large: RegistryRepository, after: int
) -> None:
    large.push_early(Hashing(after))
    assert stored(registry)
    assert sorted(methods(registry)) == ["HEAD", "PATCH", "POST", "PUT"]


@pytest.mark.parametrize("after", [0, MIB])
def test_what_turns_out_to_be_there_is_not_sent_further(
    registry: TestRegistry, large: RegistryRepository, after: int
) -> None:
    registry.push_blob("acme/app", CONTENT)
    content = Hashing(after)
    assert large.push_early(content) == BLOB.digest
    assert content.passed <= after + (128 << 10)
    assert registry.count("PUT") == 0
    assert registry.count("DELETE") == 1
    assert registry.content.uploads == set()


@pytest.mark.parametrize("kept", [2, MIB, 2 * MIB])
def test_what_breaks_goes_on_where_the_registry_is(
    registry: TestRegistry, large: RegistryRepository, kept: int
) -> None:
    registry.content.upload_rules.keeps = [kept]
    large.push_early(Hashing(after=len(CONTENT)))
    assert stored(registry)
    assert methods(registry) == ["POST", "PATCH", "GET", "PUT"]
    assert len(registry.asked("PUT")[0].body) == len(CONTENT) - kept


@pytest.mark.parametrize(
    ("method", "action"),
    [
        ("PATCH", Status(405)),
        ("PATCH", Status(401)),
        ("PATCH", Status(413)),
        ("PATCH", Status(429)),
        ("PATCH", Status(500)),
        ("PATCH", Reset(-1)),
        ("POST", Status(500)),
    ],
)
def test_what_is_not_taken_so_is_sent_once_it_is_hashed(
    registry: TestRegistry, large: RegistryRepository, method: str, action: Action
) -> None:
    registry.content.upload_rules.status = False
    registry.fault((method, "/uploads/"), action=action)
    assert large.push_early(Hashing(after=len(CONTENT))) == BLOB.digest
    assert stored(registry)
    assert registry.content.uploads == set()


def test_a_proxy_that_takes_no_large_body_gets_chunks(registry: TestRegistry, large: RegistryRepository) -> None:
    registry.content.upload_rules.body_max = MIB
    large.push_early(Hashing(after=len(CONTENT)))
    assert stored(registry)
    assert large.may_push_early([len(CONTENT)]) == [False]


def test_a_registry_that_lost_the_upload_gets_it_all_again(registry: TestRegistry, large: RegistryRepository) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(404))
    large.push_early(Hashing(after=len(CONTENT)))
    assert stored(registry)
    assert len(registry.asked("PUT")[-1].body) == len(CONTENT)
    assert registry.content.uploads == set()


def test_the_end_of_other_content_is_never_sent(registry: TestRegistry, large: RegistryRepository, path: Path) -> None:
    with HashingFile(str(path)) as file:
        # Whenever the hashing met it: the file is not what it was when it was opened.
        registry.fault(("PATCH", "/uploads/"), action=Do(lambda: changed(path)))
        with pytest.raises((Conflict, IntegrityError)):
            large.push_early(file)
    assert registry.count("PUT") == 0
    assert registry.content.uploads == set()


def changed(path: Path) -> None:
    """Write until the system gives the change another time, which may take as long as its clock is coarse."""
    before = path.stat().st_mtime_ns
    for _ in range(500):
        with path.open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"x" if CONTENT[-1:] != b"x" else b"y")
        if path.stat().st_mtime_ns != before:
            return
        time.sleep(0.01)
    pytest.fail("a change leaves no trace here")


@pytest.mark.parametrize("at", ["POST", "PATCH"])
def test_an_upload_that_is_cancelled_is_forgotten(
    registry: TestRegistry, large: RegistryRepository, path: Path, at: str
) -> None:
    cancellation = Cancellation()
    registry.fault((at, "/uploads/"), action=Do(cancellation.cancel))
    with HashingFile(str(path)) as file, pytest.raises(Cancelled):
        large.push_early(WatchedHashing(file, NO_PROGRESS, 1, cancellation))
    assert registry.count("PUT") == 0
    assert registry.content.uploads == set()


def test_an_upload_that_came_further_than_its_location_says_is_forgotten(
    registry: TestRegistry, large: RegistryRepository
) -> None:
    # So does distribution 3 after a request that broke off.
    registry.push_blob("acme/app", CONTENT)
    registry.fault(("DELETE", "/uploads/"), action=Status(416))
    large.push_early(Hashing(after=MIB))
    assert registry.count("DELETE") == 2
    assert registry.content.uploads == set()


def test_only_large_blobs_in_new_repositories_go_early(registry: TestRegistry, large: RegistryRepository) -> None:
    assert large.may_push_early([1, MIB - 1]) == [False, False]
    assert registry.requests == []
    assert large.may_push_early([1, MIB, 5 * MIB]) == [False, True, True]
    assert methods(registry) == ["GET"]
    large.push(BLOB, BytesReader(CONTENT))  # without a tag nobody can know of it
    assert large.may_push_early([MIB]) == [True]
    registry.push_artifact("acme/app", "1.0", layers=[])
    assert large.may_push_early([MIB]) == [False]


def pushed(repository: RegistryRepository, contents: list[bytes]) -> None:
    """A push of blobs that are all announced before."""
    assert repository.may_push_early([len(content) for content in contents]) == [False] * len(contents)
    for content in contents:
        repository.push(Descriptor.of(content, "application/octet-stream"), BytesReader(content))


def test_many_small_blobs_are_not_asked_for_in_a_new_repository(registry: TestRegistry, connect: Connector) -> None:
    repository = connect(registry).repository("acme/app")
    small, larger = [b"%d" % number for number in range(16)], [bytes(64 << 10), bytes((64 << 10) + 1)]
    pushed(repository, small + larger)
    assert registry.count("GET") == 1
    assert registry.count("HEAD") == 1  # the one over 64 KiB
    assert registry.count("POST") == registry.count("PUT") == 18
    registry.requests.clear()
    # Without a tag nobody can know that they are there: they go once more, which does no harm.
    pushed(repository, small)
    assert (registry.count("HEAD"), registry.count("PUT")) == (0, 16)


@pytest.mark.parametrize("count", [15, 16])
def test_what_may_be_there_is_asked_for(registry: TestRegistry, connect: Connector, count: int) -> None:
    repository = connect(registry).repository("acme/app")
    contents = [b"%d" % number for number in range(count)]
    if count == 16:
        registry.push_artifact("acme/app", "1.0", layers=contents)
    pushed(repository, contents)
    assert registry.count("HEAD") == count
    assert registry.count("GET") == (count == 16)
    assert registry.count("PUT") == (0 if count == 16 else count)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_where_that_cannot_be_asked_nothing_goes_early(
    registry: TestRegistry, large: RegistryRepository, status: int
) -> None:
    registry.fault(("GET", "/tags/list"), action=Status(status), times=99)
    assert large.may_push_early([MIB]) == [False]


@pytest.mark.parametrize("quirks", [HostQuirks(chunk_max_bytes=4 * MIB), HostQuirks(chunk_min_bytes=5 * MIB)])
def test_a_registry_with_rules_for_chunks_is_not_tried(
    registry: TestRegistry, connect: Connector, quirks: HostQuirks
) -> None:
    repository = connect(registry, upload=LARGE, quirks=quirks).repository("acme/app")
    assert repository.may_push_early([5 * MIB]) == [False]
    assert registry.requests == []


def published(repository: RegistryRepository, path: Path, tag: str) -> None:
    publish(repository, [Source(path=str(path), title="blob")], tags=[tag])


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose last change is so old that a further one is noticed."""
    path = tmp_path_factory.mktemp("settled") / "blob"
    path.write_bytes(CONTENT)
    for _ in range(100):
        if settled_size(str(path)) is not None:
            return path
        time.sleep(0.05)
    pytest.fail("the clocks of the file system and of the system differ")


def test_files_are_published_so(registry: TestRegistry, large: RegistryRepository, settled: Path) -> None:
    published(large, settled, "1")
    assert stored(registry)
    assert (registry.count("PATCH"), registry.count("GET", "/tags/list")) == (1, 1)
    registry.requests.clear()
    # What may be there is hashed first, so that nothing of it is sent.
    published(large, settled, "2")
    assert methods(registry) == ["GET", "HEAD", "HEAD", "PUT"]
    assert set(registry.tags("acme/app")) == {"1", "2"}


def test_a_file_of_just_now_is_hashed_first(registry: TestRegistry, large: RegistryRepository, path: Path) -> None:
    with path.open("ab"):
        assert settled_size(str(path)) is None
    published(large, path, "1")
    assert stored(registry)
    assert registry.count("PATCH") == 0


def test_other_files_are_looked_at_before(registry: TestRegistry, large: RegistryRepository, settled: Path) -> None:
    absent = Source(path=str(settled.with_name("absent")), title="absent")
    with pytest.raises(NotFound):
        publish(large, [Source(path=str(settled), title="blob"), absent], options=PublishOptions(jobs=1))
    assert methods(registry) == ["GET"]


def test_nothing_special_is_hashed_on_its_way(tmp_path: Path) -> None:
    assert settled_size(str(tmp_path)) is None
    assert settled_size(str(tmp_path / "absent")) is None
