"""Publishing: the manifest in every form, annotations, titles, and what is checked before anything is pushed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from provender.artifact.annotation_file import parse_annotations, read_annotation_file
from provender.artifact.pack import Source
from provender.artifact.publish import ConfigFile, PublishOptions, publish
from provender.errors import InvalidDocument, InvalidReference, NotFound, ProvenderError
from provender.oci import EMPTY_DESCRIPTOR, Descriptor, Document
from provender.oci.annotations import CREATED, TITLE, UNPACK
from provender.storage.abilities import BlobReader
from provender.storage.memory import MemoryStorage
from provender.storage.verify import read_all

LAYER = (
    '{"mediaType":"application/vnd.oci.image.layer.v1.tar",'
    '"digest":"sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9","size":3,'
    '"annotations":{"org.opencontainers.image.title":"bar"}}'
)
EMPTY = (
    '{"mediaType":"application/vnd.oci.empty.v1+json",'
    '"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="}'
)
HEAD = '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"'
CONFIG = '"digest":"sha256:46b68ac1696c3870d537f376868d9402400de28587e345264a77b65da09669be","size":13'


class Recorded(MemoryStorage):
    """A storage that notes the order of what is pushed."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def push(self, descriptor: Descriptor, reader: BlobReader) -> None:
        super().push(descriptor, reader)
        self.order.append("blob")

    def push_document(self, document: Document, tags: Sequence[str] = ()) -> None:
        super().push_document(document, tags)
        self.order.append(f"manifest {','.join(tags)}")


@pytest.fixture
def storage() -> Recorded:
    return Recorded()


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bar").write_bytes(b"bar")
    (tmp_path / "foo").write_bytes(b"foo")
    (tmp_path / "config.json").write_bytes(b'{"config":{}}')
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x").write_bytes(b"x")
    return tmp_path


def pushed(
    storage: Recorded, *files: str, tags: tuple[str, ...] = (), options: PublishOptions | None = None
) -> Document:
    return publish(storage, [Source.parse(file) for file in files], tags=tags, options=options)


def test_one_file_gives_the_manifest_that_oras_gives_but_for_the_time(storage: Recorded) -> None:
    expected = f'{HEAD},"artifactType":"application/vnd.unknown.artifact.v1","config":{EMPTY},"layers":[{LAYER}]}}'
    assert pushed(storage, "bar").raw == expected.encode()


def test_the_time_is_written_only_when_it_is_given(storage: Recorded) -> None:
    options = PublishOptions(created_s=1_795_227_270)
    assert pushed(storage, "bar", options=options).manifest().annotations == {CREATED: "2026-11-21T02:14:30Z"}
    # With that time these are the very bytes that oras 1.3 pushed at that second.
    assert pushed(storage, "bar", options=options).digest == (
        "sha256:d77cffb3c4034faf3bc7e8640b32f81b221332d75c8cd9ee17cbc9ae236662de"
    )


@pytest.mark.parametrize(
    ("options", "manifest"),
    [
        (
            PublishOptions(config=ConfigFile(path="config.json")),
            f'{HEAD},"config":{{"mediaType":"application/vnd.unknown.config.v1+json",{CONFIG}}},"layers":[{LAYER}]}}',
        ),
        (
            PublishOptions(config=ConfigFile(path="config.json", media_type="x/y"), artifact_type="a/b"),
            f'{HEAD},"artifactType":"a/b","config":{{"mediaType":"x/y",{CONFIG}}},"layers":[{LAYER}]}}',
        ),
        (
            PublishOptions(image_spec="v1.0"),
            (
                f'{HEAD},"config":{{"mediaType":"application/vnd.unknown.config.v1+json",'
                f'"digest":"{EMPTY_DESCRIPTOR.digest}","size":2}},"layers":[{LAYER}]}}'
            ),
        ),
        (
            PublishOptions(image_spec="v1.0", artifact_type="a/b"),
            f'{HEAD},"config":{{"mediaType":"a/b","digest":"{EMPTY_DESCRIPTOR.digest}","size":2}},"layers":[{LAYER}]}}',
        ),
    ],
    ids=["config", "config and type", "v1.0", "v1.0 with type"],
)
def test_forms_of_the_manifest(storage: Recorded, options: PublishOptions, manifest: str) -> None:
    document = pushed(storage, "bar", options=options)
    assert document.raw.decode() == manifest
    assert all(storage.exists(descriptor) for descriptor in document.manifest().successors())


def test_no_file_gives_the_empty_layer(storage: Recorded) -> None:
    document = pushed(storage, options=PublishOptions(artifact_type="a/b"))
    assert document.raw.decode() == f'{HEAD},"artifactType":"a/b","config":{EMPTY},"layers":[{EMPTY}]}}'
    assert storage.exists(EMPTY_DESCRIPTOR)


def test_blobs_come_first_and_each_once_then_the_manifest_with_its_tags(storage: Recorded, work: Path) -> None:
    (work / "same").write_bytes(b"bar")
    document = pushed(storage, "bar", "same", "foo", "d", tags=("1.0", "latest"))
    assert storage.order == ["blob"] * 4 + ["manifest 1.0,latest"]
    assert storage.resolve("latest") == storage.resolve("1.0")
    assert storage.resolve("1.0").raw == document.raw
    assert all(storage.exists(descriptor) for descriptor in document.manifest().successors())


def test_the_same_input_gives_the_same_manifest_whatever_the_number_of_jobs(storage: Recorded) -> None:
    digests = {pushed(storage, "bar", "foo", "d", options=PublishOptions(jobs=jobs)).digest for jobs in (1, 2, 8)}
    assert len(digests) == 1


def test_annotations_go_to_manifest_config_and_files(storage: Recorded) -> None:
    options = PublishOptions(
        annotations={"z": "1", "a": "2"},
        file_annotations={"$manifest": {"hi": "manifest"}, "$config": {"hello": "config"}, "bar": {"foo": "bar"}},
    )
    manifest = pushed(storage, "bar", "foo", options=options).manifest()
    assert list((manifest.annotations or {}).items()) == [("a", "2"), ("hi", "manifest"), ("z", "1")]
    assert manifest.config is not None
    assert manifest.config.annotations == {"hello": "config"}
    assert [layer.annotations for layer in manifest.layers] == [{"foo": "bar", TITLE: "bar"}, {TITLE: "foo"}]


def test_a_title_in_the_annotations_renames(storage: Recorded) -> None:
    options = PublishOptions(file_annotations={"d": {TITLE: "e/f", "k": "v"}, "bar": {TITLE: "baz"}})
    manifest = pushed(storage, "d", "bar", options=options).manifest()
    assert [layer.title for layer in manifest.layers] == ["e/f", "baz"]
    notes = manifest.layers[0].annotations or {}
    assert (notes["k"], notes[UNPACK]) == ("v", "true")


@pytest.mark.parametrize(
    ("files", "options", "code"),
    [
        (["bar", "./bar"], PublishOptions(), "duplicate-title"),
        (["bar", "foo"], PublishOptions(file_annotations={"foo": {TITLE: "bar"}}), "duplicate-title"),
        (["bar"], PublishOptions(file_annotations={"bar": {TITLE: "../bar"}}), "unsafe-title"),
        (["bar"], PublishOptions(file_annotations={"baz": {}}), "unused-annotations"),
        (["bar"], PublishOptions(artifact_type="a/b;c=d"), "invalid-media-type"),
        (["bar"], PublishOptions(artifact_type="nonsense"), "invalid-media-type"),
        (["bar"], PublishOptions(config=ConfigFile(path="config.json", media_type="x")), "invalid-media-type"),
        (
            ["bar"],
            PublishOptions(config=ConfigFile(path="config.json", media_type="application/vnd.oci.empty.v1+json")),
            "conflicting-options",
        ),
        (
            ["bar"],
            PublishOptions(image_spec="v1.0", artifact_type="a/b", config=ConfigFile(path="config.json")),
            "conflicting-options",
        ),
        (["bar"], PublishOptions(created_s=1 << 60), "invalid-time"),
        (["bar", "gone"], PublishOptions(), "no-such-file"),
        (["bar"], PublishOptions(config=ConfigFile(path="gone")), "no-such-file"),
        (["bar"], PublishOptions(config=ConfigFile(path="d")), "no-such-file"),
    ],
)
def test_nothing_is_pushed_when_something_is_wrong(
    storage: Recorded, files: list[str], options: PublishOptions, code: str
) -> None:
    with pytest.raises(ProvenderError) as caught:
        pushed(storage, *files, tags=("1.0",), options=options)
    assert caught.value.code == code
    assert caught.value.hint is not None or code == "no-such-file"
    assert storage.order == []


def test_a_bad_tag_is_refused_before_anything_is_pushed(storage: Recorded) -> None:
    with pytest.raises(InvalidReference):
        pushed(storage, "bar", tags=("ok", "1.0+x"))
    assert storage.order == []


def test_a_subject_is_named_by_its_content_alone(storage: Recorded) -> None:
    subject = pushed(storage, "foo").descriptor
    manifest = pushed(storage, "bar", options=PublishOptions(subject=subject)).manifest()
    assert manifest.subject == subject.bare


def test_the_config_may_lie_anywhere(storage: Recorded, work: Path) -> None:
    config = ConfigFile.parse(f"{work}/config.json:x/y")
    assert config == ConfigFile(path=f"{work}/config.json", media_type="x/y")
    manifest = pushed(storage, "bar", options=PublishOptions(config=config)).manifest()
    assert manifest.config is not None
    assert read_all(storage.fetch(manifest.config), 100) == b'{"config":{}}'
    assert manifest.config.title is None


def test_annotation_words() -> None:
    assert parse_annotations(["a=b", "c=d=e", "f="]) == {"a": "b", "c": "d=e", "f": ""}


@pytest.mark.parametrize("words", [["a"], ["=b"], [""], ["a=1", "a=2"]])
def test_annotation_words_that_are_none(words: list[str]) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_annotations(words)
    assert caught.value.code == "invalid-annotation"


def test_an_annotation_file_is_read(work: Path) -> None:
    fields = {"$manifest": {"a": "b"}, "bar": {}}
    (work / "notes.json").write_text(json.dumps(fields))
    assert read_annotation_file("notes.json") == fields
    with pytest.raises(NotFound):
        read_annotation_file("gone.json")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a":1}', '{"a":{"b":1}}', '{"a":{"b":null}}', '{"a":{},"a":{}}', '{"a":"b"}']
)
def test_an_annotation_file_of_another_shape_is_refused(work: Path, text: str) -> None:
    (work / "notes.json").write_text(text)
    with pytest.raises(InvalidDocument) as caught:
        read_annotation_file("notes.json")
    assert (caught.value.code, caught.value.where) == ("invalid-annotation-file", "notes.json")
