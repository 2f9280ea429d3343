"""Copying again what was broken off: nothing that belongs to an artifact may be taken for told of that is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import Unavailable, VerificationFailed
from provender.oci import Descriptor, Digest
from provender.storage.abilities import UploadNote
from provender.storage.layout import LayoutStorage
from provender.storage.memory import MemoryStorage
from provender.storage.registry import UploadSettings
from provender.transfer.copy import CopyOptions, NoWatch, Outcome, copy
from provender.transfer.plan import missing
from support.graphs import Writable, carry, family, push, relations, walk
from support.readers import Stream
from support.registry import TestRegistry
from support.registry_client import Connector, Repositories


@pytest.fixture(params=["api", "no-api", "layout"])
def destination(request: pytest.FixtureRequest, tmp_path: Path, repository: Repositories) -> Iterator[Writable]:
    if request.param == "layout":
        yield LayoutStorage(tmp_path / "copy", create=True)
        return
    with TestRegistry() as server:
        server.content.referrers = request.param == "api"
        yield repository(server)


class _Stopped(Exception):
    """What a test stops a copy with."""


class _Stopping(NoWatch):
    """Stops after so many nodes, all of which are stored."""

    def __init__(self, nodes: int) -> None:
        self.left = nodes

    def finished(self, outcome: Outcome, /) -> None:
        self.left -= 1
        if self.left == 0:
            raise _Stopped


def stopped_before_the_lists(source: MemoryStorage, destination: Writable) -> None:
    plan = missing(walk(source, "1.0"), destination)
    nodes = len(plan.documents) + len(plan.blobs)
    with pytest.raises(_Stopped):
        copy(plan, source, destination, watch=_Stopping(nodes), options=CopyOptions(jobs=1))


def test_what_was_stored_and_not_yet_listed_is_listed_by_the_next_run(destination: Writable) -> None:
    family(source := MemoryStorage())
    stopped_before_the_lists(source, destination)
    carry(source, destination, "1.0")
    assert relations(walk(destination, "1.0")) == relations(walk(source, "1.0"))


def test_what_came_later_and_was_not_yet_listed_is_listed_by_the_next_run(destination: Writable) -> None:
    source = MemoryStorage()
    root = push(source, "root", "1.0")
    push(source, "first", subject=root.descriptor)
    carry(source, destination, "1.0")
    push(source, "second", subject=root.descriptor)
    stopped_before_the_lists(source, destination)
    carry(source, destination, "1.0")
    assert relations(walk(destination, "1.0")) == relations(walk(source, "1.0"))


def test_what_names_no_subject_and_was_not_yet_listed_is_listed_by_the_next_run(destination: Writable) -> None:
    source = MemoryStorage()
    root = push(source, "root", "1.0")
    bundle = push(source, "bundle", artifact_type="application/vnd.dev.sigstore.bundle.v0.3+json")
    source.relate({root.digest: [bundle.descriptor]})
    stopped_before_the_lists(source, destination)
    carry(source, destination, "1.0")
    assert relations(walk(destination, "1.0")) == relations(walk(source, "1.0"))


def test_a_destination_that_does_not_list_is_refused_each_time(repository: Repositories) -> None:
    source = MemoryStorage()
    root = push(source, "root", "1.0")
    push(source, "signature", subject=root.descriptor)
    with TestRegistry() as server:
        server.content.referrers = True
        server.content.referrer_rules.lists = False
        for _ in range(2):
            with pytest.raises(VerificationFailed) as caught:
                carry(source, repository(server), "1.0")
            assert caught.value.exit_status == 84
            assert "1.0" not in server.tags("acme/copy")


class _Notes:
    """Upload notes in memory."""

    def __init__(self) -> None:
        self.there: dict[Digest, UploadNote] = {}

    def opened(self, digest: Digest, location: str, offset: int) -> None:
        self.there[digest] = UploadNote(location, offset)

    def closed(self, digest: Digest) -> None:
        self.there.pop(digest, None)

    def known(self, digest: Digest) -> UploadNote | None:
        return self.there.get(digest)


def test_what_an_earlier_run_sent_of_a_blob_is_not_said_to_be_sent_by_this_one() -> None:
    content, kept = b"large" * 500_000, 1 << 20
    source = MemoryStorage()
    push(source, "root", "1.0", layers=[content])
    connect = Connector()
    with TestRegistry() as server:
        destination = connect(server, upload=UploadSettings(large_bytes=1 << 20)).repository("acme/copy")
        destination.upload_notes = _Notes()
        server.content.upload_rules.keeps_of_put = [kept]
        descriptor = Descriptor.of(content, "application/octet-stream")
        with pytest.raises(Unavailable):
            destination.push(descriptor, Stream(content))
        server.requests.clear()
        report = carry(source, destination, "1.0")
        sent = next(each.sent_bytes for each in report.outcomes if each.digest == descriptor.digest)
        assert sent == len(content) - kept
        assert sent in {len(request.body) for request in server.asked("PUT")}
    connect.transport.close()
