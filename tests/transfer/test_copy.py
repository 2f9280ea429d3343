"""Copying: what arrives, in which order, at which cost, and what happens when something is wrong."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import IntegrityError, NotFound, ProvenderError, VerificationFailed
from provender.oci import EMPTY_DESCRIPTOR
from provender.storage.archive import ArchiveStorage
from provender.storage.layout import LayoutStorage
from provender.storage.memory import MemoryStorage
from provender.storage.verify import BytesReader, read_all
from provender.transfer.copy import CopyOptions, NoWatch, Outcome, copy
from provender.transfer.discover import DiscoverOptions
from provender.transfer.graph import Node
from provender.transfer.plan import PlanOptions, TagChange, missing
from provender.transfer.related import Related
from support.graphs import carry, family, push, relations, walk
from support.registry import Corrupt, Delay, Reset, Status, TestRegistry
from support.registry_client import Repositories


@pytest.fixture(params=["api", "no-api"])
def registry(request: pytest.FixtureRequest) -> Iterator[TestRegistry]:
    with TestRegistry() as server:
        server.content.referrers = request.param == "api"
        yield server


def test_the_same_graph_arrives_from_layout_to_registry_to_archive_to_layout(
    registry: TestRegistry, tmp_path: Path, repository: Repositories
) -> None:
    first = LayoutStorage(tmp_path / "first", create=True)
    family(first)
    expected = relations(walk(first, "1.0"))
    carry(first, repository(registry), "1.0")
    assert relations(walk(repository(registry), "1.0")) == expected
    second = LayoutStorage(tmp_path / "second", create=True)
    carry(repository(registry), second, "1.0")
    assert relations(walk(second, "1.0")) == expected
    with tarfile.open(tmp_path / "second.tar", "w") as archive:
        archive.add(tmp_path / "second", ".")
    third = LayoutStorage(tmp_path / "third", create=True)
    carry(ArchiveStorage(tmp_path / "second.tar"), third, "1.0")
    graph = walk(third, "1.0")
    assert relations(graph) == expected
    for node in graph.blobs:
        with third.fetch(node.content) as reader:
            read_all(reader, 1 << 20)


def test_damage_in_a_layout_is_met_before_the_end_was_sent(
    registry: TestRegistry, tmp_path: Path, repository: Repositories
) -> None:
    layout = LayoutStorage(tmp_path / "layout", create=True)
    layer = push(layout, "damaged", "1.0", layers=[b"content " * 100_000]).manifest().layers[1]
    path = tmp_path / "layout" / "blobs" / "sha256" / layer.digest.encoded
    path.write_bytes(b"Content " + path.read_bytes()[8:])
    with pytest.raises(IntegrityError) as caught:
        carry(layout, repository(registry), "1.0")
    assert (caught.value.code, caught.value.where) == ("digest-mismatch", f"layout:{tmp_path / 'layout'}")
    assert registry.blob("acme/copy", layer.digest) is None
    assert all(len(item.body) < layer.size for item in registry.asked("PUT"))
    assert registry.content.uploads == set()


def test_tags_are_written_after_everything_and_the_roots_tag_last(
    registry: TestRegistry, repository: Repositories
) -> None:
    family(memory := MemoryStorage())
    carry(memory, repository(registry), "1.0", copy_options=CopyOptions(jobs=1))
    written = [request.path.rpartition("/")[2] for request in registry.asked("PUT", "/manifests/")]
    named = [name for name in written if ":" not in name]
    digest_tags = [name for name in named if name.endswith((".sig", ".notes"))]
    lists = [name for name in named if name not in digest_tags and name != "1.0"]
    assert len(digest_tags) == 3
    assert len(lists) == (0 if registry.content.referrers else 3)
    assert written[len(written) - len(named) :] == [*lists, *digest_tags, "1.0"]
    blobs = [number for number, request in enumerate(registry.requests) if request.method == "PUT"]
    assert max(number for number in blobs if "/blobs/" in registry.requests[number].path) < min(
        number for number in blobs if "/manifests/" in registry.requests[number].path
    )


def test_each_list_of_referrers_is_written_once(repository: Repositories) -> None:
    with TestRegistry() as registry:
        memory = MemoryStorage()
        root = push(memory, "root", "1.0")
        for number in range(6):
            push(memory, f"referrer-{number}", subject=root.descriptor)
        carry(memory, repository(registry), "1.0")
        assert registry.count("PUT", f"/manifests/{root.digest.replace(':', '-')}") == 1
        assert len(list(repository(registry).referrers(root.digest))) == 6


def test_nothing_is_written_twice(registry: TestRegistry, repository: Repositories) -> None:
    family(memory := MemoryStorage())
    first = carry(memory, repository(registry), "1.0")
    assert first.count("copied") == len(first.outcomes)
    registry.requests.clear()
    again = carry(memory, repository(registry), "1.0")
    assert again.count("present") == len(again.outcomes)
    assert again.tags == ()
    assert registry.count("(PUT|POST|PATCH)") == 0
    assert {request.method for request in registry.requests} <= {"GET", "HEAD"}


def test_what_is_new_is_added_to_what_is_there(registry: TestRegistry, repository: Repositories) -> None:
    memory = MemoryStorage()
    members = family(memory)
    carry(memory, repository(registry), "1.0")
    fresh = push(memory, "fresh", subject=members.named["arm64"].descriptor)
    report = carry(memory, repository(registry), "1.0")
    copied = {outcome.digest for outcome in report.outcomes if outcome.action == "copied"}
    assert fresh.digest in copied
    assert len(copied) == 2  # and its layer
    assert fresh.digest in {each.digest for each in repository(registry).referrers(members.digests["arm64"])}


def test_blobs_are_taken_over_within_one_registry(registry: TestRegistry, repository: Repositories) -> None:
    client = repository.client(registry)
    source, destination = client.repository("acme/source"), client.repository("acme/copy")
    family(source)
    registry.requests.clear()
    name = destination.neighbour(source)
    assert name == "acme/source"
    report = carry(source, destination, "1.0", copy_options=CopyOptions(mount_from=(name,)))
    assert report.count("mounted") == len([outcome for outcome in report.outcomes if not outcome.is_document])
    assert registry.count("(GET|HEAD|PUT)", "/blobs/") == 0
    assert registry.count("POST", "/blobs/") == report.count("mounted")
    assert repository(registry).neighbour(source) is None


def test_a_refused_mount_ends_in_a_push(registry: TestRegistry, repository: Repositories) -> None:
    client = repository.client(registry)
    source, destination = client.repository("acme/source"), client.repository("acme/copy")
    family(source)
    registry.content.mounts = False
    report = carry(source, destination, "1.0", copy_options=CopyOptions(mount_from=("acme/source",)))
    assert report.count("mounted") == 0
    assert relations(walk(destination, "1.0")) == relations(walk(source, "1.0"))


def test_a_destination_that_has_the_root_alone_is_repaired_thoroughly(
    registry: TestRegistry, repository: Repositories
) -> None:
    memory = MemoryStorage()
    root = push(memory, "root", "1.0", layers=[b"a layer"])
    carry(memory, repository(registry), "1.0")
    lost = root.manifest().layers[1]
    del registry.content.repository("acme/copy").blobs[lost.digest]
    carry(memory, repository(registry), "1.0")
    assert registry.blob("acme/copy", lost.digest) is None
    report = carry(memory, repository(registry), "1.0", plan_options=PlanOptions(is_thorough=True))
    assert registry.blob("acme/copy", lost.digest) == b"a layer"
    assert {outcome.digest for outcome in report.outcomes if outcome.action == "copied"} == {lost.digest}


def test_a_plan_says_what_would_be_sent_and_writes_nothing(registry: TestRegistry, repository: Repositories) -> None:
    memory = MemoryStorage()
    members = family(memory)
    remote = repository(registry)
    push(remote, "1.0-amd64", "amd64", artifact_type=None)
    registry.requests.clear()
    plan = missing(walk(memory, "1.0"), remote, options=PlanOptions(probe_blobs=True))
    assert plan.documents == set(members.digests.values()) - {members.digests["amd64"]}
    assert EMPTY_DESCRIPTOR.digest not in plan.blobs  # it was found there
    assert [change.tag for change in plan.tags if not change.is_digest_tag] == ["1.0"]
    assert not plan.is_empty
    assert plan.most_bytes > 0
    assert {request.method for request in registry.requests} <= {"GET", "HEAD"}


def test_a_tag_that_moves_is_said(registry: TestRegistry, repository: Repositories) -> None:
    memory = MemoryStorage()
    remote = repository(registry)
    old = push(remote, "old", "1.0")
    new = push(memory, "new", "1.0")
    plan = missing(walk(memory, "1.0"), remote)
    assert plan.tags == (TagChange(tag="1.0", digest=new.digest, before=old.digest),)


def test_a_blob_that_breaks_on_the_way_is_sent_again(registry: TestRegistry, repository: Repositories) -> None:
    with TestRegistry() as other:
        remote = repository(other, "acme/source")
        root = push(remote, "root", "1.0", layers=[b"x" * (3 << 20)])
        large = root.manifest().layers[1].digest
        other.fault(("GET", f"/blobs/{large}"), action=Reset(1 << 20))
        registry.fault(("PUT", "/blobs/uploads/"), action=Reset(-1))
        carry(remote, repository(registry), "1.0")
        assert registry.blob("acme/copy", large) == b"x" * (3 << 20)


def test_wrong_bytes_never_arrive(registry: TestRegistry, repository: Repositories) -> None:
    with TestRegistry() as other:
        remote = repository(other, "acme/source")
        root = push(remote, "root", "1.0", layers=[b"x" * 5000])
        large = root.manifest().layers[1].digest
        other.fault(("GET", f"/blobs/{large}"), action=Corrupt(17), times=100)
        with pytest.raises(IntegrityError):
            carry(remote, repository(registry), "1.0")
    assert registry.blob("acme/copy", large) is None
    assert registry.tags("acme/copy") == {}


def test_a_blob_that_the_source_lacks_is_named_with_its_owner() -> None:
    memory = MemoryStorage()
    root = push(memory, "root", "1.0")
    memory.delete(root.manifest().layers[0])
    with pytest.raises(NotFound) as caught:
        carry(memory, MemoryStorage(), "1.0")
    assert caught.value.code == "blob-missing"
    assert root.digest in caught.value.message


def test_nothing_is_tagged_when_a_document_is_refused(registry: TestRegistry, repository: Repositories) -> None:
    family(memory := MemoryStorage())
    members = walk(memory, "1.0").roots[0].digest
    registry.fault(("PUT", f"/manifests/{members}"), action=Status(400), times=100)
    with pytest.raises(ProvenderError):
        carry(memory, repository(registry), "1.0")
    assert registry.tags("acme/copy") == {}


def test_the_content_that_needs_no_source_is_not_read_from_it(repository: Repositories) -> None:
    with TestRegistry() as registry:
        remote = repository(registry, "acme/source")
        push(remote, "root", "1.0")
        registry.requests.clear()
        carry(remote, MemoryStorage(), "1.0")
        assert registry.count("GET", EMPTY_DESCRIPTOR.digest) == 0


class Journal(NoWatch):
    """Remembers what was finished, and may be ended by an error before the tags."""

    def __init__(self) -> None:
        self.finished_nodes: dict[tuple[str, bool], str] = {}
        self.tags: list[str] = []
        self.is_closed = False

    def is_finished(self, node: Node, /) -> bool:
        return (node.digest, node.is_document) in self.finished_nodes

    def finished(self, outcome: Outcome, /) -> None:
        self.finished_nodes[outcome.digest, outcome.is_document] = outcome.action

    def before_tags(self) -> frozenset[str]:
        if self.is_closed:
            raise VerificationFailed("the gate is closed")
        return frozenset()

    def tagged(self, change: TagChange, /) -> None:
        self.tags.append(change.tag)


def test_a_gate_before_the_tags_leaves_them_and_the_next_run_goes_on(
    registry: TestRegistry, repository: Repositories
) -> None:
    family(memory := MemoryStorage())
    remote = repository(registry)
    plan = missing(walk(memory, "1.0"), remote)
    journal = Journal()
    journal.is_closed = True
    with pytest.raises(VerificationFailed):
        copy(plan, memory, remote, watch=journal)
    assert not {tag for tag in registry.tags("acme/copy") if not tag.startswith("sha256-")}
    assert len(journal.finished_nodes) == len(plan.graph.nodes)
    journal.is_closed = False
    registry.requests.clear()
    copy(plan, memory, remote, watch=journal)
    assert journal.tags[-1] == "1.0"
    assert registry.count("*", "/blobs/") == 0


def test_a_bundle_without_subject_is_listed_at_the_destination(
    registry: TestRegistry, tmp_path: Path, repository: Repositories
) -> None:
    """Its source lists it under the fallback tag alone; every destination has to, too."""
    source = MemoryStorage()
    root = push(source, "root", "1.0")
    bundle = push(source, "bundle", artifact_type="application/vnd.dev.sigstore.bundle.v0.3+json")
    source.relate({root.digest: [bundle.descriptor]})
    expected = relations(walk(source, "1.0"))
    assert len(expected) > 4
    layout = LayoutStorage(tmp_path / "layout", create=True)
    carry(source, layout, "1.0")
    assert relations(walk(layout, "1.0")) == expected
    carry(layout, repository(registry), "1.0")
    assert relations(walk(repository(registry), "1.0")) == expected


def test_a_root_that_refers_to_something_is_listed_there(registry: TestRegistry, repository: Repositories) -> None:
    memory = MemoryStorage()
    subject = push(memory, "subject")
    sbom = push(memory, "sbom", "sbom-1.0", subject=subject.descriptor)
    carry(memory, repository(registry), "sbom-1.0")
    assert [each.digest for each in repository(registry).referrers(subject.digest)] == [sbom.digest]


def test_without_related_content_only_the_image_is_copied(registry: TestRegistry, repository: Repositories) -> None:
    memory = MemoryStorage()
    family(memory)
    carry(memory, repository(registry), "1.0", options=DiscoverOptions(related=Related.parse("none")))
    assert set(registry.tags("acme/copy")) == {"1.0"}
    assert len(registry.content.repository("acme/copy").manifests) == 4


def test_a_root_asked_for_by_digest_stays_in_a_layout(tmp_path: Path) -> None:
    memory = MemoryStorage()
    root = push(memory, "root")
    layout = LayoutStorage(tmp_path / "layout", create=True)
    carry(memory, layout, root.digest)
    assert root.digest in (tmp_path / "layout" / "index.json").read_text()


def test_a_destination_that_is_no_mounter_is_pushed_to() -> None:
    memory = MemoryStorage()
    push(memory, "root", "1.0")
    report = carry(memory, MemoryStorage(), "1.0", copy_options=CopyOptions(mount_from=("acme/source",)))
    assert report.count("copied") == len(report.outcomes)
    assert report.sent_bytes == sum(node.descriptor.size for node in walk(memory, "1.0").nodes)


def test_a_layer_that_has_the_type_of_a_manifest_is_a_blob(registry: TestRegistry, repository: Repositories) -> None:
    memory = MemoryStorage()
    inner = push(memory, "inner")
    manifest = push(memory, "outer").manifest()
    memory.push(inner.descriptor, BytesReader(inner.raw))
    outer = type(inner).author(
        type(manifest)(
            schema_version=2,
            media_type=manifest.media_type,
            artifact_type="application/vnd.test",
            config=manifest.config,
            layers=(inner.descriptor.bare,),
        )
    )
    memory.push_document(outer, ["1.0"])
    carry(memory, repository(registry), "1.0")
    assert registry.blob("acme/copy", inner.digest) == inner.raw


def test_referrers_of_one_subject_are_written_one_after_the_other(
    registry: TestRegistry, repository: Repositories
) -> None:
    """Not each registry keeps the list of a subject when two are added at once."""
    memory = MemoryStorage()
    root = push(memory, "root", "1.0")
    referrers = [push(memory, f"referrer-{number}", subject=root.descriptor).digest for number in range(4)]
    registry.fault(("PUT", "/manifests/sha256:"), action=Delay(0.05), times=100)
    carry(memory, repository(registry), "1.0")
    arrived = [request.path.rpartition("/")[2] for request in registry.asked("PUT", "/manifests/sha256:")]
    assert [digest for digest in arrived if digest in referrers] == referrers
