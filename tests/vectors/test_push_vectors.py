"""What `oras push` makes of the files of its own tests, made by us."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provender.artifact.annotation_file import read_annotation_file
from provender.artifact.pack import Source
from provender.artifact.publish import ConfigFile, PublishOptions, publish
from provender.artifact.pull import pull
from provender.oci import EMPTY_DESCRIPTOR, Manifest
from provender.storage.memory import MemoryStorage


@pytest.fixture
def files(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(vectors / "oras-files")
    return vectors / "oras-files"


def pushed(*files: str, options: PublishOptions | None = None) -> Manifest:
    return publish(MemoryStorage(), [Source.parse(file) for file in files], options=options).manifest()


def test_a_file_alone_gets_the_unknown_artifact_type_and_the_empty_config(files: Path) -> None:
    manifest = pushed("foobar/bar")
    assert manifest.artifact_type == "application/vnd.unknown.artifact.v1"
    assert manifest.config is not None
    assert manifest.config.bare == EMPTY_DESCRIPTOR
    assert [layer.digest for layer in manifest.layers] == [
        "sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"
    ]


def test_a_config_replaces_the_artifact_type(files: Path) -> None:
    manifest = pushed("foobar/bar", options=PublishOptions(config=ConfigFile.parse("foobar/config.json")))
    assert manifest.artifact_type is None
    assert manifest.config is not None
    assert manifest.config.media_type == "application/vnd.unknown.config.v1+json"
    assert (manifest.config.size, manifest.config.digest) == (
        13,
        "sha256:46b68ac1696c3870d537f376868d9402400de28587e345264a77b65da09669be",
    )


def test_both_files_named_foo_are_one_blob(files: Path) -> None:
    digests = [layer.digest for layer in pushed("foobar/foo1", "foobar/foo2", "foobar/bar").layers]
    assert digests[0] == digests[1] == "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"


@pytest.mark.parametrize(
    ("name", "title"), [("annotation.json", "foobar/bar"), ("annotation-rename.json", "foobar/baz")]
)
def test_the_annotation_files(files: Path, name: str, title: str) -> None:
    options = PublishOptions(file_annotations=read_annotation_file(f"foobar/{name}"))
    manifest = pushed("foobar/bar", options=options)
    assert manifest.annotations == {"hi": "manifest"}
    assert manifest.config is not None
    assert manifest.config.annotations == {"hello": "config"}
    assert manifest.layers[0].annotations == {"foo": "bar", "org.opencontainers.image.title": title}


def test_the_directory_comes_back_as_it_was(files: Path, tmp_path: Path) -> None:
    storage = MemoryStorage()
    publish(storage, [Source.parse("foobar")], tags=("all",))
    pull(storage, "all", str(tmp_path))
    assert sorted(os.listdir(tmp_path / "foobar")) == sorted(os.listdir(files / "foobar"))
    for name in os.listdir(files / "foobar"):
        assert (tmp_path / "foobar" / name).read_bytes() == (files / "foobar" / name).read_bytes()
