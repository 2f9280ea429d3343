"""The walk: what is found, by which route, what is not, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from provender.errors import InvalidDocument, NotFound, ProvenderError, Unavailable
from provender.oci import Descriptor, Digest, Document, Index
from provender.oci.media_types import INDEX
from provender.storage.layout import LayoutStorage
from provender.storage.memory import MemoryStorage
from provender.transfer.discover import DiscoverLimits, DiscoverOptions, discover, start_of
from provender.transfer.related import Related
from support.graphs import SBOM, SIGNATURE, Family, family, for_platform, push, push_index, relations, walk
from support.registry import Status, TestRegistry
from support.registry_client import Repositories


@pytest.fixture(params=["api", "no-api"])
def registry(request: pytest.FixtureRequest) -> Iterator[TestRegistry]:
    with TestRegistry() as server:
        server.content.referrers = request.param == "api"
        yield server


def listed_in(memory: MemoryStorage | LayoutStorage, subject: Digest, *referrers: Document) -> None:
    """Puts referrers under the fallback tag alone, as a registry without API has them."""
    entries = tuple(
        Descriptor(
            media_type=each.descriptor.media_type,
            digest=each.digest,
            size=each.descriptor.size,
            artifact_type=each.manifest().effective_type,
        )
        for each in referrers
    )
    index = Document.author(Index(schema_version=2, media_type=INDEX, manifests=entries))
    memory.push_document(index, [subject.replace(":", "-")])


def test_everything_is_found_in_every_kind_of_storage(
    registry: TestRegistry, tmp_path: Path, repository: Repositories
) -> None:
    layout = LayoutStorage(tmp_path / "layout", create=True)
    members = family(layout)
    family(remote := repository(registry))
    family(memory := MemoryStorage())
    expected = relations(walk(layout, "1.0"))
    assert {edge[2] for edge in expected} >= set(members.digests.values()) - {members.root.digest}
    assert relations(walk(remote, "1.0")) == expected
    assert relations(walk(memory, "1.0")) == expected


def test_each_edge_says_what_it_is_and_how_it_was_found(registry: TestRegistry, repository: Repositories) -> None:
    members = family(remote := repository(registry)).digests
    graph = walk(remote, "1.0")
    found = {(edge.kind, edge.owner, edge.digest): edge.routes for edge in graph.edges}
    by_list = ("api" if registry.content.referrers else "fallback", "document")
    assert found["child", members["root"], members["amd64"]] == ("document",)
    assert found["attestation", members["root"], members["attestation"]] == ("document",)
    assert found["subject", members["amd64"], members["sbom"]] == by_list
    assert found["subject", members["sbom"], members["sbom-signature"]] == by_list
    assert found["digest-tag", members["root"], members["cosign"]] == ("digest-tag",)
    assert found["digest-tag", members["arm64"], members["cosign-arm64"]] == ("digest-tag",)
    assert graph.roles[members["sbom"], True] == "referrer"
    assert graph.roles[members["attestation"], True] == "attestation-in-index"
    assert graph.roles[members["other"], True] == "digest-tag"


def test_a_walk_costs_two_requests_a_document_and_one_for_all_tags(
    registry: TestRegistry, repository: Repositories
) -> None:
    members = family(repository(registry))
    registry.requests.clear()
    graph = walk(repository(registry), "1.0", options=DiscoverOptions(jobs=1))
    documents = len(graph.by_digest)
    assert documents == len(members.named)
    assert registry.count("GET", "/tags/list") == 1
    if registry.content.referrers:
        assert registry.count("GET", "/manifests/") == documents
        assert registry.count("GET", "/referrers/") == documents
    else:
        # The API is tried once, and only fallback tags that are there are read.
        assert registry.count("GET", "/referrers/") == 1
        assert registry.count("GET", "/manifests/") == documents + 3


def test_what_only_the_fallback_tag_lists_is_found_beside_the_api(repository: Repositories) -> None:
    with TestRegistry() as registry:
        members = family(repository(registry)).digests  # without the API: fallback tags
        registry.content.referrers = True
        registry.content.referrer_rules.lists = False
        graph = walk(repository(registry), "1.0")
    edge = next(edge for edge in graph.edges if edge.digest == members["sbom"])
    assert edge.routes == ("overlooked", "document")


def test_the_fallback_tag_is_not_trusted() -> None:
    """It may be somebody's tag of an index of platforms, list a referrer of another subject, or one that is gone."""
    memory = MemoryStorage()
    root = push(memory, "root", "1.0")
    other = push(memory, "other")
    stranger = push(memory, "stranger", subject=other.descriptor)
    platform = push(memory, "platform", artifact_type=None)
    gone = push(memory, "gone", subject=root.descriptor)
    index = Document.author(
        Index(
            schema_version=2,
            media_type=INDEX,
            manifests=(for_platform(platform, "linux/amd64"), stranger.descriptor, gone.descriptor),
        )
    )
    memory.push_document(index, [root.digest.replace(":", "-")])
    memory.delete(gone.descriptor)
    graph = walk(memory, "1.0")
    assert set(graph.by_digest) == {root.digest}
    assert {(each.digest, each.reason) for each in graph.left_out} >= {(stranger.digest, "other-subject")}


def test_a_registry_that_finds_the_subject_under_its_fallback_tag_lists_nothing(repository: Repositories) -> None:
    with TestRegistry() as registry:
        remote = repository(registry)
        root = push_index(remote, "1.0", children=[push(remote, "child").descriptor])
        registry.content.subject_by_fallback_tag = True
        graph = discover(remote, [start_of(remote, "1.0")], options=DiscoverOptions(digest_tags=False))
    assert set(graph.by_digest) == {root.digest, root.index().manifests[0].digest}


def test_a_referrer_without_subject_counts_where_its_list_names_its_type() -> None:
    """sigstore-js pushes so where subjects are refused (signing reference, section 2.3)."""
    memory = MemoryStorage()
    root = push(memory, "root", "1.0")
    bundle = push(memory, "bundle", artifact_type="application/vnd.dev.sigstore.bundle.v0.3+json")
    listed_in(memory, root.digest, bundle)
    graph = walk(memory, "1.0")
    edge = next(edge for edge in graph.edges if edge.kind == "subject")
    assert (edge.owner, edge.digest) == (root.digest, bundle.digest)
    assert edge.entry is not None
    assert edge.entry.artifact_type == "application/vnd.dev.sigstore.bundle.v0.3+json"


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
@pytest.mark.parametrize("path", ["/referrers/", "/tags/list"])
def test_a_look_up_that_fails_is_an_error_and_never_none(status: int, path: str, repository: Repositories) -> None:
    with TestRegistry() as registry:
        registry.content.referrers = True
        family(repository(registry))
        registry.fault(("GET", path), action=Status(status), times=100)
        with pytest.raises(ProvenderError) as caught:
            walk(repository(registry), "1.0")
    assert not isinstance(caught.value, NotFound)


def test_a_fallback_tag_that_cannot_be_read_is_an_error(repository: Repositories) -> None:
    with TestRegistry() as registry:
        members = family(repository(registry)).digests
        tag = members["amd64"].replace(":", "-")
        registry.fault(("GET", f"/manifests/{tag}"), action=Status(503), times=100)
        with pytest.raises(Unavailable):
            walk(repository(registry), "1.0")


def test_a_web_page_in_place_of_the_tags_is_never_none(registry: TestRegistry, repository: Repositories) -> None:
    family(remote := repository(registry))
    page = Status(404, {"Content-Type": "text/html"}, b"<html>this proxy does not know that path</html>")
    registry.fault(("GET", "/tags/list"), action=page)
    with pytest.raises(NotFound) as caught:
        walk(remote, "1.0")
    assert "web page" in (caught.value.hint or "")


def test_a_repository_without_tags_has_no_digest_tags(registry: TestRegistry, repository: Repositories) -> None:
    remote = repository(registry)
    root = push(remote, "root")
    registry.fault(("GET", "/tags/list"), action=Status(404, body=b'{"errors":[{"code":"NAME_UNKNOWN"}]}'), times=9)
    assert set(walk(remote, root.digest).by_digest) == {root.digest}


def names(members: Family, options: DiscoverOptions, memory: MemoryStorage) -> set[str]:
    graph = walk(memory, "1.0", options=options)
    return {name for name, digest in members.digests.items() if digest in graph.by_digest}


@pytest.mark.parametrize(
    ("related", "expected"),
    [
        ("none", set[str]()),
        ("signature", {"signature", "cosign", "cosign-arm64"}),
        ("sbom", {"sbom"}),
        ("signature,sbom", {"signature", "cosign", "cosign-arm64", "sbom", "sbom-signature"}),
        (SIGNATURE, {"signature"}),
        ("application/vnd.nothing", set[str]()),
    ],
)
def test_related_content_is_chosen_by_kind_and_type(related: str, expected: set[str]) -> None:
    memory = MemoryStorage()
    members = family(memory)
    found = names(members, DiscoverOptions(related=Related.parse(related)), memory)
    assert found == expected | {"root", "amd64", "arm64", "attestation"}


def test_nothing_is_asked_about_related_content_that_is_not_wanted(
    registry: TestRegistry, repository: Repositories
) -> None:
    family(repository(registry))
    registry.requests.clear()
    walk(repository(registry), "1.0", options=DiscoverOptions(related=Related.parse("none")))
    assert registry.count("GET", "/(referrers|tags)/") == 0


def test_the_search_ends_after_as_many_steps_as_were_asked_for() -> None:
    memory = MemoryStorage()
    root = push(memory, "root", "1.0")
    sbom = push(memory, "sbom", subject=root.descriptor, artifact_type=SBOM)
    push(memory, "signature", subject=sbom.descriptor)
    graph = walk(memory, "1.0", options=DiscoverOptions(levels=1))
    assert set(graph.by_digest) == {root.digest, sbom.digest}


def test_halves_of_characters_stay_in_the_document_alone() -> None:
    """JSON may spell them; a plan, an archive and a report are files that may not hold them."""
    memory = MemoryStorage()
    root = push(memory, "root", "1.0")
    other = Document.read(root.raw.replace(b'"test.name":"root"', b'"\\udfff":"\\ud800 \\u00e9"'))
    memory.push_document(other, ["2.0"])
    graph = walk(memory, "2.0")
    assert graph.nodes[0].annotations == {"?": "? é"}
    assert graph.documents[other.digest].raw == other.raw
    assert msgspec.json.encode(graph, enc_hook=str)


def test_cycles_of_digest_tags_end() -> None:
    memory = MemoryStorage()
    one, two = push(memory, "one", "1.0"), push(memory, "two")
    memory.tag(two.descriptor, f"{one.digest.replace(':', '-')}.sig")
    memory.tag(one.descriptor, f"{two.digest.replace(':', '-')}.sig")
    memory.tag(one.descriptor, f"{one.digest.replace(':', '-')}.imgpkg")  # itself
    graph = walk(memory, "1.0")
    assert set(graph.by_digest) == {one.digest, two.digest}
    assert len([edge for edge in graph.edges if edge.kind == "digest-tag"]) == 3
    assert sorted(node.digest for level in graph.levels() for node in level) == sorted([one.digest, two.digest])


def test_a_chain_of_referrers_ends_at_the_limit_of_levels() -> None:
    memory = MemoryStorage()
    last = push(memory, "root", "1.0")
    for number in range(12):
        last = push(memory, f"link-{number}", subject=last.descriptor)
    limits = DiscoverLimits(depth=10)
    with pytest.raises(InvalidDocument) as caught:
        walk(memory, "1.0", options=DiscoverOptions(limits=limits))
    assert caught.value.code == "graph-too-deep"
    assert len(walk(memory, "1.0").by_digest) == 13


@pytest.mark.parametrize(
    "limits",
    [DiscoverLimits(documents=20), DiscoverLimits(document_bytes=5000), DiscoverLimits(edges=20)],
    ids=["documents", "bytes", "edges"],
)
def test_a_bomb_ends_at_the_limits(limits: DiscoverLimits) -> None:
    memory = MemoryStorage()
    root = push(memory, "root", "1.0")
    for number in range(40):
        push(memory, f"referrer-{number}", subject=root.descriptor)
    with pytest.raises(InvalidDocument) as caught:
        walk(memory, "1.0", options=DiscoverOptions(limits=limits))
    assert caught.value.code == "graph-too-large"


def test_an_index_of_thousands_is_refused_before_it_is_asked_for(repository: Repositories) -> None:
    with TestRegistry() as registry:
        children = [
            Descriptor(media_type=INDEX, digest=Digest.of(str(number).encode()), size=1) for number in range(500)
        ]
        document = Document.author(Index(schema_version=2, media_type=INDEX, manifests=tuple(children)))
        registry.push_manifest("acme/copy", document.raw, INDEX, tag="1.0")
        with pytest.raises(InvalidDocument):
            walk(repository(registry), "1.0", options=DiscoverOptions(limits=DiscoverLimits(documents=100)))
        assert registry.count("GET", "/manifests/sha256") == 0


def test_a_child_that_is_missing_is_an_error() -> None:
    memory = MemoryStorage()
    child = push(memory, "child")
    push_index(memory, "1.0", children=[child.descriptor])
    memory.delete(child.descriptor)
    with pytest.raises(NotFound) as caught:
        walk(memory, "1.0")
    assert caught.value.code == "child-missing"


def test_layers_that_are_not_to_be_distributed_are_left_out_unless_asked_for() -> None:
    memory = MemoryStorage()
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    manifest = push(memory, "windows").manifest()
    layer = Descriptor(media_type=foreign, digest=Digest.of(b"base"), size=4, urls=("https://example.com/base",))
    document = Document.author(
        type(manifest)(
            schema_version=2, media_type=manifest.media_type, config=manifest.config, layers=(*manifest.layers, layer)
        )
    )
    memory.push_document(document, ["1.0"])
    graph = walk(memory, "1.0")
    assert layer.digest not in {node.digest for node in graph.blobs}
    assert [(each.digest, each.reason) for each in graph.left_out] == [(layer.digest, "foreign")]
    graph = walk(memory, "1.0", options=DiscoverOptions(foreign=True))
    assert layer.digest in {node.digest for node in graph.blobs}
