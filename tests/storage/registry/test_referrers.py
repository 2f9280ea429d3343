"""Referrers: every answer of the API means what the specification says, and the fallback tag is kept as it says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import (
    Conflict,
    Denied,
    InvalidDocument,
    NotFound,
    ProvenderError,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Digest, Document, Index, Manifest
from provender.oci.media_types import DOCKER_INDEX, INDEX, MANIFEST
from provender.storage.layout_index import fallback_tag
from provender.storage.registry import RegistryRepository
from provender.storage.verify import BytesReader
from support.content import index, manifest
from support.registry import Do, DropHeader, Reply, Reset, Status, TestRegistry
from support.registry_client import Connector

SIGNATURE, SBOM = "application/vnd.test.signature", "application/vnd.test.sbom"
SUBJECT = manifest("subject")
HTML = Reply(200, {"Content-Type": "text/html"}, b"<html>hello</html>")


@pytest.fixture(params=[True, False], ids=["api", "fallback tag"])
def either(request: pytest.FixtureRequest, registry: TestRegistry, repository: RegistryRepository) -> TestRegistry:
    """A registry with the subject, with the referrers API and without."""
    registry.content.referrers = request.param
    prepare(repository)
    return registry


@pytest.fixture
def plain(registry: TestRegistry, repository: RegistryRepository) -> TestRegistry:
    """A registry with the subject, without the API."""
    prepare(repository)
    return registry


@pytest.fixture
def api(registry: TestRegistry, repository: RegistryRepository) -> TestRegistry:
    """A registry with the subject and the API."""
    registry.content.referrers = True
    prepare(repository)
    return registry


def prepare(repository: RegistryRepository) -> None:
    repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
    repository.push_document(SUBJECT, ["1.0"])


def referrer(name: str, kind: str = SIGNATURE, subject: Document = SUBJECT) -> Document:
    return manifest(name, subject=subject.descriptor, artifact_type=kind)


def named(listed: Iterator[Descriptor]) -> list[str]:
    return [(descriptor.annotations or {})["test.name"] for descriptor in listed]


def tag_content(registry: TestRegistry, subject: Document = SUBJECT) -> list[str]:
    raw = registry.manifest("acme/app", fallback_tag(subject.digest))
    assert raw is not None
    return [entry["digest"] for entry in json.loads(raw)["manifests"]]


def fake_tag(registry: TestRegistry, *entries: Document | dict[str, object], subject: Digest = SUBJECT.digest) -> str:
    """An index under the fallback tag as another tool might have written it."""
    listed = [
        {
            "mediaType": MANIFEST,
            "digest": entry.digest,
            "size": len(entry.raw),
            "artifactType": entry.manifest().artifact_type,
            "annotations": entry.manifest().annotations,
        }
        if isinstance(entry, Document)
        else entry
        for entry in entries
    ]
    raw = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed, "x-tool": "é"}, indent=1).encode()
    return registry.push_manifest("acme/app", raw, INDEX, tag=fallback_tag(subject))


# Both ways


def test_what_was_attached_is_listed(either: TestRegistry, repository: RegistryRepository) -> None:
    assert named(repository.referrers(SUBJECT.digest)) == []
    for name, kind in (("a", SIGNATURE), ("b", SBOM), ("c", SIGNATURE)):
        repository.push_document(referrer(name, kind))
    assert sorted(named(repository.referrers(SUBJECT.digest))) == ["a", "b", "c"]
    assert sorted(named(repository.referrers(SUBJECT.digest, SIGNATURE))) == ["a", "c"]
    assert named(repository.referrers(SUBJECT.digest, "application/vnd.test.none")) == []
    first = next(repository.referrers(SUBJECT.digest))
    document = referrer("a")
    assert (first.digest, first.size, first.media_type) == (document.digest, len(document.raw), MANIFEST)
    assert (first.artifact_type, first.annotations) == (SIGNATURE, {"test.name": "a"})


def test_attaching_twice_is_attaching_once(either: TestRegistry, repository: RegistryRepository) -> None:
    repository.push_document(referrer("a"))
    repository.push_document(referrer("a"), ["tagged"])
    assert named(repository.referrers(SUBJECT.digest)) == ["a"]


def test_the_type_of_a_referrer_is_that_of_its_config_without_another(
    either: TestRegistry, repository: RegistryRepository
) -> None:
    config = Descriptor.of(b"[]", "application/vnd.test.config")
    repository.push(config, BytesReader(b"[]"))
    repository.push_document(
        Document.author(
            Manifest(
                schema_version=2,
                media_type=MANIFEST,
                config=config,
                layers=(EMPTY_DESCRIPTOR,),
                subject=SUBJECT.descriptor.bare,
            )
        )
    )
    listed = list(repository.referrers(SUBJECT.digest))
    assert [descriptor.artifact_type for descriptor in listed] == ["application/vnd.test.config"]


def test_an_index_may_refer_and_be_referred_to(either: TestRegistry, repository: RegistryRepository) -> None:
    subject = index(SUBJECT)
    repository.push_document(subject)
    attached = Document.author(
        Index(
            schema_version=2,
            media_type=INDEX,
            artifact_type=SBOM,
            manifests=(SUBJECT.descriptor.bare,),
            subject=subject.descriptor.bare,
            annotations={"test.name": "index"},
        )
    )
    repository.push(attached.descriptor, BytesReader(attached.raw))
    assert named(repository.referrers(subject.digest, SBOM)) == ["index"]
    assert named(repository.referrers(SUBJECT.digest)) == []


def test_a_missing_subject_is_no_obstacle(either: TestRegistry, repository: RegistryRepository) -> None:
    missing = manifest("missing")
    repository.push_document(referrer("a", subject=missing))
    assert named(repository.referrers(missing.digest)) == ["a"]


def test_a_deleted_referrer_is_listed_no_more(either: TestRegistry, repository: RegistryRepository) -> None:
    documents = [referrer(name) for name in "abc"]
    for document in documents:
        repository.push_document(document)
    repository.delete(documents[1].descriptor)
    assert named(repository.referrers(SUBJECT.digest)) == ["a", "c"]
    repository.delete(documents[0].descriptor)
    repository.delete(documents[2].descriptor)
    assert named(repository.referrers(SUBJECT.digest)) == []
    with pytest.raises(NotFound):
        repository.delete(documents[0].descriptor)


def test_what_cannot_be_deleted_stays_listed(either: TestRegistry, repository: RegistryRepository) -> None:
    document = referrer("a")
    repository.push_document(document)
    either.content.deletes = False
    with pytest.raises(ProvenderError):
        repository.delete(document.descriptor)
    assert named(repository.referrers(SUBJECT.digest)) == ["a"]


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_could_not_ask_is_never_none(either: TestRegistry, repository: RegistryRepository, status: int) -> None:
    either.fault(("GET", "/(referrers/|manifests/sha256-)"), action=Status(status), times=99)
    with pytest.raises((Unauthorized, Denied, RateLimited, Unavailable)):
        list(repository.referrers(SUBJECT.digest))


def test_a_broken_connection_is_never_none(either: TestRegistry, repository: RegistryRepository) -> None:
    either.fault(("GET", "/(referrers/|manifests/sha256-)"), action=Reset(-1), times=99)
    with pytest.raises(Unavailable):
        list(repository.referrers(SUBJECT.digest))


# Reading by the API


def test_pages_are_followed_and_filters_asked_for(api: TestRegistry, repository: RegistryRepository) -> None:
    for name in "abcde":
        repository.push_document(referrer(name, SIGNATURE if name < "d" else SBOM + "+json"))
    api.content.referrer_rules.page_size = 2
    api.requests.clear()
    assert sorted(named(repository.referrers(SUBJECT.digest))) == list("abcde")
    assert api.count("GET", "/referrers/") == 3
    assert sorted(named(repository.referrers(SUBJECT.digest, SBOM + "+json"))) == ["d", "e"]
    asked = api.requests[-1]
    assert asked.value("artifactType") == SBOM + "+json"
    assert "%2B" in asked.query


def test_a_registry_that_does_not_filter_is_filtered_here(api: TestRegistry, repository: RegistryRepository) -> None:
    api.content.referrer_rules.filters = False
    api.content.referrer_rules.page_size = 1
    for name, kind in (("a", SIGNATURE), ("b", SBOM), ("c", SIGNATURE)):
        repository.push_document(referrer(name, kind))
    assert named(repository.referrers(SUBJECT.digest, SIGNATURE)) == ["a", "c"]


def test_a_link_to_another_host_is_refused(api: TestRegistry, repository: RegistryRepository) -> None:
    for name in "ab":
        repository.push_document(referrer(name))
    api.content.referrer_rules.page_size = 1
    api.content.referrer_rules.link = "https://elsewhere.example/v2/acme/app/referrers/x"
    with pytest.raises(Denied) as caught:
        list(repository.referrers(SUBJECT.digest))
    assert caught.value.code == "foreign-link"


def test_pages_in_a_circle_end(api: TestRegistry, repository: RegistryRepository) -> None:
    for name in "ab":
        repository.push_document(referrer(name))
    api.content.referrer_rules.page_size = 1
    api.content.referrer_rules.link = f"/v2/acme/app/referrers/{SUBJECT.digest}"
    assert named(repository.referrers(SUBJECT.digest)) == ["a"]


def test_pages_without_end_are_an_error(api: TestRegistry, repository: RegistryRepository) -> None:
    for name in "ab":
        repository.push_document(referrer(name))
    rules = api.content.referrer_rules
    rules.page_size = 1

    class Endless(str):
        count = 0

        def __format__(self, spec: str) -> str:
            Endless.count += 1
            return f"/v2/acme/app/referrers/{SUBJECT.digest}?from=0&more={Endless.count}"

    rules.link = Endless("x")
    with pytest.raises(Unavailable) as caught:
        list(repository.referrers(SUBJECT.digest))
    assert caught.value.code == "too-many-pages"
    assert api.count("GET", "/referrers/") <= 1002


@pytest.mark.parametrize(
    "reply",
    [
        HTML,
        Reply(404, {"Content-Type": "text/html"}, b"<html>nginx</html>"),
        Reply(200, {"Content-Type": "application/json"}, b'{"manifests":[]}'),
        Reply(200, {"Content-Type": INDEX}, b"not json"),
        Reply(200, {"Content-Type": INDEX}, b'{"schemaVersion":2,"layers":[]}'),
        Reply(200, {"Content-Type": MANIFEST}, SUBJECT.raw),
        Reply(200, {"Content-Type": INDEX}, b" " * (5 << 20)),
        Reply(400, {}, b""),
    ],
    ids=["page", "404 page", "other type", "no JSON", "no index", "manifest", "too large", "400"],
)
def test_an_answer_that_is_no_list_is_an_error(api: TestRegistry, repository: RegistryRepository, reply: Reply) -> None:
    api.content.referrer_rules.reply = reply
    with pytest.raises((InvalidDocument, Unavailable)) as caught:
        list(repository.referrers(SUBJECT.digest))
    assert caught.value.where == f"{api.host}/acme/app@{SUBJECT.digest}"
    assert not caught.value.retryable


def test_an_unknown_repository_is_not_found(connect: Connector, registry: TestRegistry) -> None:
    body = b'{"errors":[{"code":"NAME_UNKNOWN"}]}'
    registry.content.referrer_rules.reply = Reply(404, {"Content-Type": "application/json"}, body)
    with pytest.raises(NotFound) as caught:
        list(connect(registry).repository("acme/none").referrers(SUBJECT.digest))
    assert caught.value.code == "repository-not-found"


@pytest.mark.parametrize("status", [404, 405, 501])
def test_without_the_api_the_tag_is_read_and_the_api_not_asked_again(
    plain: TestRegistry, repository: RegistryRepository, status: int
) -> None:
    plain.content.referrer_rules.absent_status = status
    fake_tag(plain, referrer("a"))
    assert named(repository.referrers(SUBJECT.digest)) == ["a"]
    assert named(repository.referrers(SUBJECT.digest)) == ["a"]
    assert plain.count("GET", "/referrers/") == 1


def test_an_empty_list_is_completed_by_the_tag(api: TestRegistry, repository: RegistryRepository) -> None:
    old = referrer("old")
    fake_tag(api, old)
    assert named(repository.referrers(SUBJECT.digest)) == ["old"]
    assert named(repository.referrers(SUBJECT.digest, SBOM)) == []
    repository.push_document(referrer("new"))
    assert named(repository.referrers(SUBJECT.digest)) == ["new"]


def test_a_list_without_types_is_completed_by_the_manifests(api: TestRegistry, repository: RegistryRepository) -> None:
    repository.push_document(referrer("a"))
    repository.push_document(referrer("b", SBOM))
    api.content.referrer_rules.types = False
    assert named(repository.referrers(SUBJECT.digest, SBOM)) == ["b"]
    assert [item.artifact_type for item in repository.referrers(SUBJECT.digest)] == [SIGNATURE, SBOM]


# Reading the fallback tag


def test_a_tag_that_is_no_index_lists_nothing(
    plain: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    plain.push_manifest("acme/app", manifest("other").raw, tag=fallback_tag(SUBJECT.digest))
    assert named(repository.referrers(SUBJECT.digest)) == []
    assert any("holds no index" in text for text in connect.warnings)


def test_a_damaged_tag_is_an_error(plain: TestRegistry, repository: RegistryRepository) -> None:
    plain.push_manifest("acme/app", b"{", INDEX, tag=fallback_tag(SUBJECT.digest))
    with pytest.raises(InvalidDocument):
        list(repository.referrers(SUBJECT.digest))


def test_subjects_by_sha512_share_a_tag_and_not_their_referrers(
    plain: TestRegistry, repository: RegistryRepository
) -> None:
    raw = manifest("big").raw
    subject = Document.read(raw, expected=Digest.of(raw, "sha512"))
    other = Digest(subject.digest[: len("sha512:") + 64] + "0" * 64)
    assert fallback_tag(other) == fallback_tag(subject.digest)
    repository.push_document(subject)
    repository.push_document(referrer("mine", subject=subject))
    theirs = Document.author(
        Manifest(
            schema_version=2,
            media_type=MANIFEST,
            artifact_type=SBOM,
            config=EMPTY_DESCRIPTOR,
            layers=(EMPTY_DESCRIPTOR,),
            subject=Descriptor(media_type=MANIFEST, digest=other, size=9),
            annotations={"test.name": "theirs"},
        )
    )
    repository.push_document(theirs)
    assert len(tag_content(plain, subject)) == 2
    assert named(repository.referrers(subject.digest)) == ["mine"]
    assert named(repository.referrers(other)) == ["theirs"]


def test_entries_that_are_no_documents_or_gone_are_left_out(
    plain: TestRegistry, repository: RegistryRepository
) -> None:
    kept = referrer("kept")
    blob = {"mediaType": "application/octet-stream", "digest": EMPTY_DESCRIPTOR.digest, "size": 2}
    gone = {"mediaType": MANIFEST, "digest": Digest.of(b"gone"), "size": 4}
    fake_tag(plain, blob, gone, kept, kept)
    assert named(repository.referrers(SUBJECT.digest)) == ["kept"]


# After a push


def test_the_header_is_believed_once_it_was_found_true(api: TestRegistry, repository: RegistryRepository) -> None:
    repository.push_document(referrer("a"))
    assert api.count("GET", "/referrers/") == 1
    repository.push_document(referrer("b"))
    assert api.count("GET", "/referrers/") == 1
    assert named(repository.referrers(SUBJECT.digest)) == ["a", "b"]
    assert fallback_tag(SUBJECT.digest) not in api.tags("acme/app")


def test_a_header_that_a_proxy_dropped_does_not_matter(api: TestRegistry, repository: RegistryRepository) -> None:
    api.fault(("PUT", "/manifests/"), action=DropHeader("OCI-Subject"), times=9)
    repository.push_document(referrer("a"))
    assert fallback_tag(SUBJECT.digest) not in api.tags("acme/app")


@pytest.mark.parametrize(
    "reply", [None, Reply(200, {"Content-Type": INDEX}, b'{"schemaVersion":2,"manifests":[]}'), HTML], ids=str
)
def test_a_header_that_lies_is_found_out(
    plain: TestRegistry, repository: RegistryRepository, reply: Reply | None
) -> None:
    plain.content.referrer_rules.header = True
    plain.content.referrer_rules.reply = reply
    document = referrer("a")
    repository.push_document(document)
    assert tag_content(plain) == [document.digest]
    if reply is not HTML:
        assert named(repository.referrers(SUBJECT.digest)) == ["a"]


def test_a_list_that_is_late_is_waited_for(api: TestRegistry, repository: RegistryRepository) -> None:
    empty = Status(200, {"Content-Type": INDEX}, b'{"schemaVersion":2,"manifests":[]}')
    api.fault(("GET", "/referrers/"), action=empty)
    repository.push_document(referrer("a"))
    assert fallback_tag(SUBJECT.digest) not in api.tags("acme/app")


@pytest.mark.parametrize("status", [403, 500])
def test_a_push_whose_listing_cannot_be_checked_is_an_error(
    api: TestRegistry, repository: RegistryRepository, status: int
) -> None:
    api.fault(("GET", "/referrers/"), action=Status(status), times=99)
    with pytest.raises((Denied, Unavailable)):
        repository.push_document(referrer("a"))
    assert fallback_tag(SUBJECT.digest) not in api.tags("acme/app")


# Writing the fallback tag


def test_the_tag_holds_what_the_specification_says(plain: TestRegistry, repository: RegistryRepository) -> None:
    document = referrer("é")
    repository.push_document(document)
    raw = plain.manifest("acme/app", f"sha256-{SUBJECT.digest.encoded}")
    assert raw is not None
    assert json.loads(raw) == {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {
                "mediaType": MANIFEST,
                "digest": document.digest,
                "size": len(document.raw),
                "artifactType": SIGNATURE,
                "annotations": {"test.name": "é"},
            }
        ],
    }


def test_what_others_wrote_into_the_tag_stays(plain: TestRegistry, repository: RegistryRepository) -> None:
    foreign = {
        "mediaType": MANIFEST,
        "digest": repository.resolve("1.0").digest,
        "size": len(SUBJECT.raw),
        "x-own": [1],
        "annotations": {"a": "b"},
    }
    fake_tag(plain, foreign)
    document = referrer("mine")
    repository.push_document(document)
    raw = plain.manifest("acme/app", fallback_tag(SUBJECT.digest))
    assert raw is not None
    fields = json.loads(raw)
    assert fields["x-tool"] == "é"
    assert fields["manifests"][0] == foreign
    repository.delete(document.descriptor)
    raw = plain.manifest("acme/app", fallback_tag(SUBJECT.digest))
    assert raw is not None
    assert json.loads(raw) == {**fields, "manifests": [foreign]}


def test_an_entry_whose_manifest_is_gone_does_not_block_the_tag(
    plain: TestRegistry, repository: RegistryRepository
) -> None:
    # docker-registry refuses an index with a missing child.
    gone = {"mediaType": MANIFEST, "digest": Digest.of(b"gone"), "size": 4}
    fake_tag(plain, gone)
    document = referrer("a")
    repository.push_document(document)
    assert tag_content(plain) == [document.digest]


def test_an_entry_that_is_there_is_not_written_again(plain: TestRegistry, repository: RegistryRepository) -> None:
    document = referrer("a")
    digest = fake_tag(plain, document)
    repository.push_document(document)
    assert plain.tags("acme/app")[fallback_tag(SUBJECT.digest)] == digest


def test_the_superseded_index_is_deleted_if_that_can_be_had(
    plain: TestRegistry, repository: RegistryRepository
) -> None:
    for name in "abc":
        repository.push_document(referrer(name))
    indexes = [raw for kind, raw in plain.content.repository("acme/app").manifests.values() if kind == INDEX]
    assert len(indexes) == 1
    plain.content.deletes = False
    for name in "de":
        repository.push_document(referrer(name))
    assert len(tag_content(plain)) == 5
    # Once refused, nobody asks for it again.
    assert plain.count("DELETE") == 3


def test_an_index_without_entries_is_never_deleted(plain: TestRegistry, repository: RegistryRepository) -> None:
    # Another subject's tag, or a user's own, may hold the very same bytes.
    empty = Document.author(Index(schema_version=2, media_type=INDEX, manifests=()))
    repository.push_document(empty, [fallback_tag(SUBJECT.digest), "users-own"])
    repository.push_document(referrer("a"))
    assert plain.tags("acme/app")["users-own"] == empty.digest


@pytest.mark.parametrize("kind", [MANIFEST, DOCKER_INDEX])
def test_something_else_under_the_tag_is_not_overwritten(
    plain: TestRegistry, repository: RegistryRepository, kind: str
) -> None:
    raw = manifest("precious").raw if kind == MANIFEST else b'{"schemaVersion":2,"manifests":[]}'
    digest = plain.push_manifest("acme/app", raw, kind, tag=fallback_tag(SUBJECT.digest))
    with pytest.raises(Conflict) as caught:
        repository.push_document(referrer("a"))
    assert caught.value.code == "referrers-tag-taken"
    assert caught.value.where == f"{plain.host}/acme/app:{fallback_tag(SUBJECT.digest)}"
    assert plain.tags("acme/app")[fallback_tag(SUBJECT.digest)] == digest


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_tag_that_cannot_be_read_is_not_written(
    plain: TestRegistry, repository: RegistryRepository, status: int
) -> None:
    fake_tag(plain, referrer("old"))
    plain.fault(("GET", "/manifests/sha256-"), action=Status(status), times=99)
    with pytest.raises(ProvenderError):
        repository.push_document(referrer("a"))
    assert plain.count("PUT", "/manifests/sha256-") == 0


def test_a_web_page_in_place_of_the_tag_is_never_none(plain: TestRegistry, repository: RegistryRepository) -> None:
    repository.push_document(referrer("a"))
    page = Status(404, {"Content-Type": "text/html"}, b"<html>this proxy does not know that path</html>")
    plain.fault(("GET", "/manifests/sha256-"), action=page)
    with pytest.raises(NotFound) as caught:
        list(repository.referrers(SUBJECT.digest))
    assert "web page" in (caught.value.hint or "")


def test_a_lost_update_is_made_again(plain: TestRegistry, repository: RegistryRepository) -> None:
    theirs = manifest("theirs", artifact_type=SIGNATURE)
    repository.push_document(theirs)
    # Their write lands after ours, from a list that had not ours.
    other = fake_tag(plain, theirs)
    plain.fault(("PUT", "/manifests/sha256-"), action=Status(201), times=3)
    mine = referrer("mine")
    repository.push_document(mine)
    assert tag_content(plain) == [theirs.digest, mine.digest]
    assert plain.tags("acme/app")[fallback_tag(SUBJECT.digest)] != other


@pytest.mark.parametrize("is_writable", [True, False])
def test_writers_of_one_machine_take_turns(
    plain: TestRegistry, connect: Connector, tmp_path: Path, is_writable: bool
) -> None:
    root = tmp_path / "cache"
    if not is_writable:
        root.write_bytes(b"in the way")
    one, other = (connect(plain, lock_root=lambda: root).repository("acme/app") for _ in range(2))
    theirs, mine = referrer("theirs"), referrer("mine")
    writer = threading.Thread(target=lambda: other.push_document(theirs), daemon=True)

    def while_mine_has_read() -> None:
        writer.start()
        writer.join(0.5 if is_writable else 30)  # in vain where they have to wait for mine

    plain.fault(("GET", "/manifests/sha256-"), action=Do(while_mine_has_read, performed=True))
    one.push_document(mine)
    writer.join(30)
    listed = {mine.digest, theirs.digest} if is_writable else {mine.digest}
    assert set(tag_content(plain)) == listed
    assert [path.name for path in tmp_path.rglob("tag-*")] == []


def test_an_update_that_is_lost_again_and_again_is_an_error(
    plain: TestRegistry, repository: RegistryRepository
) -> None:
    plain.fault(("PUT", "/manifests/sha256-"), action=Status(201), times=99)
    with pytest.raises(Unavailable) as caught:
        repository.push_document(referrer("a"))
    assert caught.value.code == "referrers-not-kept"
    assert caught.value.retryable
    assert plain.count("PUT", "/manifests/sha256-") == 4


def test_threads_of_a_process_lose_nothing(plain: TestRegistry, connect: Connector) -> None:
    client = connect(plain)
    documents = [referrer(f"{number}") for number in range(12)]
    failures: list[BaseException] = []

    def attach(document: Document) -> None:
        try:
            client.repository("acme/app").push_document(document)
        except ProvenderError as error:
            failures.append(error)

    threads = [threading.Thread(target=attach, args=(document,)) for document in documents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sorted(tag_content(plain)) == sorted(document.digest for document in documents)


def test_a_list_that_no_registry_takes_is_not_sent(plain: TestRegistry, repository: RegistryRepository) -> None:
    padding = {"mediaType": MANIFEST, "digest": Digest.of(b"x"), "size": 1, "annotations": {"a": "x" * (4 << 20)}}
    fake_tag(plain, padding)
    with pytest.raises(InvalidDocument) as caught:
        repository.push_document(referrer("a"))
    assert caught.value.code == "document-too-large"
    assert plain.count("PUT", "/manifests/sha256-") == 0


def test_attaching_needs_one_token(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.content.referrers = True
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        prepare(repository)
        repository.push_document(referrer("a"))
        assert named(repository.referrers(SUBJECT.digest)) == ["a"]
        assert registry.count("*", "^/token") == 1
