from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.errors import InvalidDocument, Unsupported
from provender.oci import Digest
from provender.oci.annotations import REF_NAME
from provender.oci.media_types import MANIFEST
from provender.storage import layout_index
from provender.storage.layout_index import LayoutIndex, check_layout_version, fallback_tag
from support.content import manifest

A, B, C = (manifest(name).descriptor for name in "abc")


def entry(text: str, name: str | None = None, **more: object) -> dict[str, object]:
    fields: dict[str, object] = {"mediaType": MANIFEST, "digest": Digest.of(text.encode()), "size": len(text), **more}
    if name is not None:
        fields["annotations"] = {REF_NAME: name}
    return fields


def parse(*entries: object, **more: object) -> LayoutIndex:
    return LayoutIndex.parse(json.dumps({"schemaVersion": 2, "manifests": list(entries), **more}).encode())


def names(index: LayoutIndex) -> list[tuple[str | None, str]]:
    listed = json.loads(index.encode())["manifests"]
    return [((item.get("annotations") or {}).get(REF_NAME), item["digest"]) for item in listed]


def test_null_list_of_other_tools_is_empty() -> None:
    assert LayoutIndex.parse(b'{"schemaVersion":2,"manifests":null}').descriptors == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"schemaVersion":1,"manifests":[]}',
        b'{"manifests":{}}',
        b'{"manifests":[1]}',
        b'{"manifests":[{"digest":"sha256:short","size":1}]}',
        b'{"manifests":[{"size":1}]}',
        b'{"manifests":[],"manifests":[]}',
        b'{"manifests":' + b"[" * 5000 + b"]" * 5000 + b"}",
        json.dumps({"manifests": [{"digest": A.digest, "size": -1}]}).encode(),
        json.dumps({"manifests": [{"digest": A.digest, "size": 1 << 63}]}).encode(),
        json.dumps({"manifests": [{"digest": A.digest, "size": "1"}]}).encode(),
    ],
)
def test_unusable_index_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidDocument):
        LayoutIndex.parse(raw)


def test_too_large_index_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_index, "MAX_INDEX_BYTES", 10)
    with pytest.raises(InvalidDocument) as caught:
        LayoutIndex.parse(b'{"manifests":[]}')
    assert caught.value.code == "index-too-large"


def test_last_entry_of_a_name_counts() -> None:
    found = parse(entry("old", "v1"), entry("new", "v1")).by_name("v1")
    assert found is not None
    assert found.digest == Digest.of(b"new")


def test_tag_at_the_end_of_a_full_reference_resolves_unless_the_exact_name_exists() -> None:
    index = parse(entry("full", "docker.io/library/x:v1"), entry("exact", "v2"), entry("full", "localhost:5000/y:v2"))
    assert index.by_name("v1") == index.by_name("docker.io/library/x:v1")
    found = index.by_name("v2")
    assert found is not None
    assert found.digest == Digest.of(b"exact")
    assert index.tags() == ["v1", "v2"]


@pytest.mark.parametrize("name", ["localhost:5000/y", "x@sha256:" + "0" * 64, ":v1", "a b", "x:"])
def test_other_names_are_no_tags_and_still_found(name: str) -> None:
    index = parse(entry("a", name))
    assert index.tags() == []
    assert index.by_name(name) is not None
    assert index.by_name(name.rpartition(":")[2]) is None or ":" not in name


def test_edits_keep_what_they_do_not_understand() -> None:
    strange = {"mediaType": "application/xml", "digest": A.digest, "size": 3, "x-more": [1, {"a": None}]}
    noted = entry("noted", "v1", **{"x-field": "kept"})
    noted["annotations"] = {REF_NAME: "v1", "other": "kept"}
    index = parse(strange, noted, annotations={"top": "kept"}, **{"x-top": "\ud800"})
    changed = json.loads(index.naming(B, "v1").without_name("v1").encode())
    assert changed["annotations"] == {"top": "kept"}
    assert changed["x-top"] == "\ud800"
    assert changed["manifests"][0] == strange
    assert changed["manifests"][1]["x-field"] == "kept"
    assert changed["manifests"][1]["annotations"] == {"other": "kept"}


def test_moved_tag_leaves_the_old_document_listed_without_a_name() -> None:
    index = LayoutIndex.empty().naming(A, "v1").naming(B, "v1")
    assert names(index) == [(None, A.digest), ("v1", B.digest)]


def test_moved_tag_drops_an_entry_that_says_nothing_more() -> None:
    index = LayoutIndex.empty().naming(A, "v1").naming(A, "v2").naming(B, "v1")
    assert names(index) == [("v2", A.digest), ("v1", B.digest)]


def test_naming_uses_the_unnamed_entry_and_repairs_duplicates() -> None:
    assert names(LayoutIndex.empty().listing(A).naming(A, "v1")) == [("v1", A.digest)]
    twice = parse(entry("a", "v1"), entry("b", "v1"))
    found = twice.descriptors[1]
    assert names(twice.naming(found, "v1")) == [(None, Digest.of(b"a")), ("v1", Digest.of(b"b"))]


def test_edits_that_change_nothing_give_the_same_index() -> None:
    index = LayoutIndex.empty().naming(A, "v1")
    assert index.naming(A, "v1") is index
    assert index.listing(A) is index
    assert index.without(B.digest) is index
    assert index.without_name("v2") is index


def test_name_is_removed_from_a_full_reference_as_well() -> None:
    index = parse(entry("a", "docker.io/x:v1"), entry("b", "quay.io/x:v1")).without_name("v1")
    assert index.tags() == []
    assert len(index.descriptors) == 2


def test_own_entries_say_only_what_the_content_is() -> None:
    described = manifest("x").descriptor
    index = LayoutIndex.empty().naming(described, "v1")
    listed = json.loads(index.encode())["manifests"]
    assert listed == [
        {
            "mediaType": MANIFEST,
            "digest": described.digest,
            "size": described.size,
            "artifactType": "application/vnd.test.thing",
            "annotations": {REF_NAME: "v1"},
        }
    ]


def test_fallback_tag_is_cut_to_a_valid_tag() -> None:
    assert fallback_tag(A.digest) == f"sha256-{A.digest.encoded}"
    assert fallback_tag(Digest.of(b"", "sha512")) == f"sha512-{Digest.of(b'', 'sha512').encoded[:64]}"


def test_layout_version_is_checked() -> None:
    check_layout_version(b'{"imageLayoutVersion":"1.0.0","x":1}', "here")
    with pytest.raises(Unsupported) as caught:
        check_layout_version(b'{"imageLayoutVersion":"2.0.0"}', "here")
    assert caught.value.code == "layout-version"
    with pytest.raises(InvalidDocument) as refused:
        check_layout_version(b"{}", "here")
    assert refused.value.code == "not-a-layout"


_EDITS = st.lists(
    st.tuples(st.sampled_from(["list", "name", "unname", "drop"]), st.sampled_from([A, B, C]), st.sampled_from("xyz")),
    max_size=30,
)


@given(_EDITS)
def test_any_edits_agree_with_a_plain_map_and_survive_encoding(edits: list[tuple[str, object, str]]) -> None:
    index = LayoutIndex.empty()
    tags: dict[str, Digest] = {}
    listed: set[Digest] = set()
    for kind, descriptor, name in edits:
        if kind == "list":
            index = index.listing(descriptor)
            listed.add(descriptor.digest)
        elif kind == "name":
            index = index.naming(descriptor, name)
            listed.add(descriptor.digest)
            tags[name] = descriptor.digest
        elif kind == "unname":
            index = index.without_name(name)
            tags.pop(name, None)
        else:
            index = index.without(descriptor.digest)
            listed.discard(descriptor.digest)
            tags = {tag: digest for tag, digest in tags.items() if digest != descriptor.digest}
        again = LayoutIndex.parse(index.encode())
        assert again.encode() == index.encode()
        for seen in (index, again):
            assert {tag: seen.by_name(tag).digest for tag in seen.tags()} == tags
            assert {item.digest for item in seen.descriptors} == listed
            assert len(seen.descriptors) == len(tags) + len(listed - set(tags.values()))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_index_or_an_invalid_document(raw: bytes) -> None:
    with suppress(InvalidDocument):
        LayoutIndex.parse(raw)
