"""Staging: documents are stored first and made known at the end, in layouts and in memory as in registries."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from provender.errors import Conflict, NotFound
from provender.oci import Descriptor, Digest, Document, Index
from provender.oci.media_types import INDEX
from provender.storage.layout import LayoutStorage
from provender.storage.layout_index import fallback_tag
from provender.storage.memory import MemoryStorage
from support.content import index, manifest


@pytest.fixture(params=["layout", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> LayoutStorage | MemoryStorage:
    return LayoutStorage(tmp_path / "layout", create=True) if request.param == "layout" else MemoryStorage()


def test_a_staged_document_can_be_had_and_is_named_nowhere(storage: LayoutStorage | MemoryStorage) -> None:
    subject = manifest("subject")
    referrer = manifest("referrer", subject=subject.descriptor)
    for document in (subject, referrer):
        storage.stage(document)
        assert storage.resolve(document.digest) == document
    assert list(storage.tags()) == []
    assert list(storage.listed(subject.digest)) == []
    assert storage.relate({subject.digest: [referrer.descriptor]}) == []
    assert [(each.descriptor.digest, each.route) for each in storage.listed(subject.digest)] == [
        (referrer.digest, "layout")
    ]
    storage.finish([subject], [("1.0", subject), ("latest", subject)])
    assert list(storage.tags()) == ["1.0", "latest"]
    assert storage.digest_of("1.0") == subject.digest
    assert storage.digest_of("2.0") is None


def test_a_referrer_without_subject_goes_under_the_fallback_tag(storage: LayoutStorage | MemoryStorage) -> None:
    subject, lone, other = manifest("subject"), manifest("lone"), manifest("other")
    for document in (subject, lone, other):
        storage.stage(document)
    for document in (lone, other, lone):
        storage.relate({subject.digest: [document.descriptor]})
    assert [(each.descriptor.digest, each.route) for each in storage.listed(subject.digest)] == [
        (lone.digest, "fallback"),
        (other.digest, "fallback"),
    ]
    assert list(storage.referrers(subject.digest)) == []  # which are those whose manifests say so


def test_a_fallback_tag_that_is_something_else_is_not_overwritten(storage: LayoutStorage | MemoryStorage) -> None:
    subject, lone = manifest("subject"), manifest("lone")
    storage.push_document(manifest("taken"), [fallback_tag(subject.digest)])
    storage.stage(lone)
    with pytest.raises(Conflict):
        storage.relate({subject.digest: [lone.descriptor]})


def test_the_dialect_of_other_tools_is_read(storage: LayoutStorage | MemoryStorage) -> None:
    """regctl keeps referrers under the fallback tag alone, and their manifests out of the index."""
    subject = manifest("subject")
    referrer = manifest("referrer", subject=subject.descriptor)
    storage.push_document(subject, ["1.0"])
    storage.stage(referrer)
    listing = Document.author(Index(schema_version=2, media_type=INDEX, manifests=(referrer.descriptor,)))
    storage.push_document(listing, [fallback_tag(subject.digest)])
    assert [each.route for each in storage.listed(subject.digest)] == ["fallback"]
    assert [each.digest for each in storage.referrers(subject.digest)] == [referrer.digest]


def test_a_referrer_that_arrives_late_is_listed_then(tmp_path: Path) -> None:
    layout = LayoutStorage(tmp_path / "layout", create=True)
    subject = manifest("subject")
    referrer = manifest("referrer", subject=subject.descriptor)
    layout.push_document(referrer)
    blob = tmp_path / "layout" / "blobs" / "sha256" / referrer.digest.encoded
    raw = blob.read_bytes()
    blob.unlink()
    assert list(layout.listed(subject.digest)) == []
    blob.write_bytes(raw)
    assert [each.descriptor.digest for each in layout.listed(subject.digest)] == [referrer.digest]


def test_children_of_an_index_stay_out_of_the_index_of_the_layout(tmp_path: Path) -> None:
    layout = LayoutStorage(tmp_path / "layout", create=True)
    children = [manifest("one"), manifest("two")]
    root = index(*children)
    for document in (*children, root):
        layout.stage(document)
    layout.finish((), [("1.0", root)])
    entries = json.loads((tmp_path / "layout" / "index.json").read_bytes())["manifests"]
    assert [entry["digest"] for entry in entries] == [root.digest]


def test_threads_that_relate_and_finish_lose_nothing(tmp_path: Path) -> None:
    layout = LayoutStorage(tmp_path / "layout", create=True)
    subjects = [manifest(f"subject-{number}") for number in range(8)]

    def work(number: int) -> None:
        referrer = manifest(f"referrer-{number}", subject=subjects[number].descriptor)
        layout.stage(subjects[number])
        layout.stage(referrer)
        layout.relate({subjects[number].digest: [referrer.descriptor]})
        layout.finish((), [(f"tag-{number}", subjects[number])])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    again = LayoutStorage(tmp_path / "layout")
    assert len(list(again.tags())) == 8
    assert all(len(list(again.listed(subject.digest))) == 1 for subject in subjects)


def test_a_blob_is_found_by_its_digest(storage: LayoutStorage | MemoryStorage) -> None:
    document = manifest("thing")
    storage.stage(document)
    assert storage.find_blob(document.digest).size == len(document.raw)
    with pytest.raises(NotFound):
        storage.find_blob(Digest.of(b"nothing"))
    assert isinstance(storage.find_blob(document.digest), Descriptor)


def test_lists_of_referrers_are_kept_under_tags_where_they_are_or_are_asked_for(tmp_path: Path) -> None:
    layout = LayoutStorage(tmp_path / "layout", create=True)
    subject, other = manifest("subject"), manifest("other")
    one, two, three, four = (manifest(name, subject=subject.descriptor) for name in ("1", "2", "3", "4"))
    tag = fallback_tag(subject.digest)
    layout.push_document(subject, ["1.0"])
    layout.push_document(one)
    assert layout.digest_of(tag) is None
    layout.tags_referrers = True
    layout.stage(two)
    layout.relate({subject.digest: [two.descriptor]})
    layout.tags_referrers = False
    layout.push_document(three)
    layout.stage(four)
    layout.relate({subject.digest: [four.descriptor]})
    layout.push_document(manifest("of the other", subject=other.descriptor))
    listed = [each.digest for each in layout.resolve(tag).index().manifests]
    assert listed == [two.digest, three.digest, four.digest]
    assert {each.digest for each in layout.referrers(subject.digest)} == {
        each.digest for each in (one, two, three, four)
    }
    assert layout.digest_of(fallback_tag(other.digest)) is None


def test_a_child_that_something_belongs_to_is_in_the_index_of_the_layout(tmp_path: Path) -> None:
    layout = LayoutStorage(tmp_path / "layout", create=True)
    children = [manifest("one"), manifest("two")]
    root, referrer = index(*children), manifest("referrer", subject=children[0].descriptor)
    for document in (*children, root, referrer):
        layout.stage(document)
    layout.relate({children[0].digest: [referrer.descriptor], manifest("elsewhere").digest: []})
    layout.finish((), [("1.0", root)])
    entries = json.loads((tmp_path / "layout" / "index.json").read_bytes())["manifests"]
    assert {entry["digest"] for entry in entries} == {root.digest, referrer.digest, children[0].digest}
