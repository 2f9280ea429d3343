"""Layouts that zot wrote, read in place and copied into each registry: the digests are those that are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interop.programs import Program
from interop.trees import sha256, tree
from support.command import succeed

pytestmark = pytest.mark.interop

FOOBAR = "sha256:fd6ed2f36b5465244d5dc86cb4e7df0ab8a9d24adc57825099f522fe009a22bb"
MULTI = "sha256:e2bfc9cc6a84ec2d7365b5a28c6bc5806b7fa581c9ad7883be955a64e3cc034f"
FILES = {
    "foo1": "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "foo2": "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "bar": "sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9",
}


def listed(layout: Path) -> dict[str, str]:
    """Tag -> digest as the index of a layout says."""
    index = json.loads((layout / "index.json").read_bytes())
    named = [(entry.get("annotations") or {}, entry["digest"]) for entry in index["manifests"] or []]
    key = "org.opencontainers.image.ref.name"
    return {annotations[key]: digest for annotations, digest in named if key in annotations}


@pytest.mark.parametrize("name", ["artifacts", "images", "blobs"])
def test_every_tag_of_a_layout_resolves_to_its_digest(vectors: Path, name: str) -> None:
    layout = vectors / "oras-layouts" / name
    expected = listed(layout)
    assert (len(expected) > 3) is (name != "blobs")
    assert sorted(succeed("tags", f"layout:{layout}").stdout.split()) == sorted(expected)
    resolved = {tag: succeed("resolve", f"layout:{layout}:{tag}").stdout.strip() for tag in expected}
    assert resolved == expected


def test_the_files_of_an_artifact_of_a_layout_are_laid_down(vectors: Path, tmp_path: Path) -> None:
    layout = vectors / "oras-layouts" / "artifacts"
    document = succeed("resolve", f"layout:{layout}:foobar", "--format", "json").json
    assert (document["digest"], document["size"]) == (FOOBAR, 851)
    succeed("pull", f"layout:{layout}:foobar", "-o", tmp_path / "out")
    assert {path.name: sha256(path.read_bytes()) for path in (tmp_path / "out").iterdir()} == FILES


@pytest.mark.parametrize("tag", ["foobar", "empty", "config"])
def test_an_artifact_of_a_layout_is_laid_down_as_by_oras(
    vectors: Path, tmp_path: Path, oras: Program, tag: str
) -> None:
    layout = vectors / "oras-layouts" / "artifacts"
    oras.run("pull", "--oci-layout", f"{layout}:{tag}", "-o", tmp_path / "theirs")
    succeed("pull", f"layout:{layout}:{tag}", "-o", tmp_path / "ours")
    assert tree(tmp_path / "ours") == tree(tmp_path / "theirs")


def test_what_oras_copies_from_a_layout_keeps_its_digest_in_every_registry(
    repository: str, vectors: Path, tmp_path: Path, oras: Program
) -> None:
    layout = vectors / "oras-layouts" / "artifacts"
    for tag in ("foobar", "multi"):
        oras.run("cp", "--from-oci-layout", "--to-plain-http", f"{layout}:{tag}", f"{repository}:{tag}")
    assert succeed("resolve", f"{repository}:foobar").stdout.strip() == FOOBAR
    assert succeed("resolve", f"{repository}:multi").stdout.strip() == MULTI
    succeed("pull", f"{repository}:foobar", "-o", tmp_path / "out")
    assert {path.name: sha256(path.read_bytes()) for path in (tmp_path / "out").iterdir()} == FILES


def test_push_of_the_known_file_has_the_known_config(repository: str, vectors: Path, oras: Program) -> None:
    files = vectors / "oras-files" / "foobar"
    succeed("push", f"{repository}:plain", "bar", cwd=files)
    manifest = json.loads(oras.run("manifest", "fetch", "--plain-http", f"{repository}:plain"))
    assert manifest["artifactType"] == "application/vnd.unknown.artifact.v1"
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert [layer["digest"] for layer in manifest["layers"]] == [FILES["bar"]]
    succeed("push", f"{repository}:config", "bar", "--config", "config.json", cwd=files)
    manifest = json.loads(oras.run("manifest", "fetch", "--plain-http", f"{repository}:config"))
    assert "artifactType" not in manifest
    assert manifest["config"] == {
        "mediaType": "application/vnd.unknown.config.v1+json",
        "digest": "sha256:46b68ac1696c3870d537f376868d9402400de28587e345264a77b65da09669be",
        "size": 13,
    }
