"""What we push, other clients find under our digest and lay down as the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interop.programs import Program
from interop.registries import Registries, Registry
from interop.trees import sha256, tree
from support.command import succeed

pytestmark = pytest.mark.interop

TYPE = "application/vnd.example.bundle.v1"
CONFIG = "application/vnd.example.config.v1+json"
PINNED = ("--annotation", "org.opencontainers.image.created=2020-01-01T00:00:00Z")


def push(*arguments: str | Path, cwd: Path) -> dict[str, Any]:
    """The document that `provender push` prints."""
    return dict(succeed("push", *arguments, "--format", "json", cwd=cwd).json)


def manifest(oras: Program, reference: str) -> dict[str, Any]:
    return dict(json.loads(oras.run("manifest", "fetch", "--plain-http", reference)))


def test_every_peer_sees_the_digest_that_we_printed(
    repository: str, registry: Registry, sample: Path, oras: Program, crane: Program, regctl: Program
) -> None:
    pushed = push(f"{repository}:v1", "config.json:application/json", "schemas", "--artifact-type", TYPE, cwd=sample)
    digest = pushed["digest"]
    assert (pushed["kind"], pushed["version"], pushed["artifactType"]) == ("push", 1, TYPE)
    described = json.loads(oras.run("manifest", "fetch", "--plain-http", "--descriptor", f"{repository}:v1"))
    assert (described["digest"], described["size"]) == (digest, pushed["size"])
    assert described["mediaType"] == pushed["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert crane.run("digest", f"{repository}:v1") == digest
    head = regctl.run("--host", f"reg={registry.host},tls=disabled", "manifest", "head", f"{repository}:v1")
    assert head == digest
    raw = oras.attempt("manifest", "fetch", "--plain-http", f"{repository}@{digest}").stdout
    assert digest in (sha256(raw), sha256(raw.rstrip(b"\n")))


def test_oras_pulls_the_tree_that_we_pushed(repository: str, sample: Path, tmp_path: Path, oras: Program) -> None:
    push(f"{repository}:v1", "config.json:application/json", "empty", "schemas", cwd=sample)
    oras.run("pull", "--plain-http", f"{repository}:v1", "-o", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(sample)


def test_a_pushed_file_is_a_blob_of_the_same_bytes(
    repository: str, sample: Path, tmp_path: Path, oras: Program, crane: Program
) -> None:
    push(f"{repository}:v1", "schemas/large.bin:application/octet-stream", "config.json", cwd=sample)
    content = (sample / "schemas/large.bin").read_bytes()
    layer = manifest(oras, f"{repository}:v1")["layers"][0]
    assert (layer["digest"], layer["size"]) == (sha256(content), len(content))
    oras.run("blob", "fetch", "--plain-http", "--output", tmp_path / "blob", f"{repository}@{layer['digest']}")
    assert (tmp_path / "blob").read_bytes() == content
    assert crane.attempt("blob", f"{repository}@{layer['digest']}").stdout == content


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(PINNED, id="defaults"),
        pytest.param((*PINNED, "--artifact-type", TYPE), id="artifact-type"),
        pytest.param((*PINNED, "--config", f"config.json:{CONFIG}"), id="config"),
        pytest.param((*PINNED, "--config", "config.json"), id="untyped-config"),
        pytest.param((*PINNED, "--config", f"config.json:{CONFIG}", "--artifact-type", TYPE), id="both"),
        pytest.param((*PINNED, "--image-spec", "v1.0", "--artifact-type", TYPE), id="image-spec-1.0"),
        pytest.param((*PINNED, "--image-spec", "v1.0"), id="image-spec-1.0-defaults"),
        pytest.param((*PINNED, "--image-spec", "v1.1", "--annotation", "k=v=w"), id="annotation"),
        pytest.param(("--annotation-file", "notes.json"), id="annotation-file"),
    ],
)
def test_our_manifest_says_what_that_of_oras_says(
    sample: Path, tmp_path: Path, oras: Program, options: tuple[str, ...]
) -> None:
    created = {"org.opencontainers.image.created": "2020-01-01T00:00:00Z"}
    notes = {"$manifest": {"a": "b", **created}, "$config": {"c": "d"}, "config.json": {"e": "f"}}
    (sample / "notes.json").write_text(json.dumps(notes))
    files = ("config.json", "empty:text/plain", "schemas/pod.json:application/json")
    layout = tmp_path / "layout"
    oras.run("push", "--oci-layout", *options, f"{layout}:theirs", *files, cwd=sample)
    push(f"layout:{layout}:ours", *files, *options, cwd=sample)
    ours, theirs = (oras.run("manifest", "fetch", "--oci-layout", f"{layout}:{tag}") for tag in ("ours", "theirs"))
    assert json.loads(ours) == json.loads(theirs)


def test_a_manifest_of_image_spec_1_0_with_a_config_is_kept(
    repository: str, sample: Path, tmp_path: Path, oras: Program, crane: Program
) -> None:
    options = ("--image-spec", "v1.0", "--config", f"config.json:{CONFIG}")
    pushed = push(f"{repository}:v1", "schemas", *options, cwd=sample)
    assert crane.run("digest", f"{repository}:v1") == pushed["digest"]
    document = manifest(oras, f"{repository}:v1")
    assert "artifactType" not in document
    assert document["config"]["mediaType"] == pushed["artifactType"] == CONFIG
    oras.run("pull", "--plain-http", "--config", "out.json", f"{repository}:v1", "-o", tmp_path / "out")
    assert (tmp_path / "out/out.json").read_bytes() == (sample / "config.json").read_bytes()


def test_several_tags_name_one_manifest(repository: str, sample: Path, crane: Program) -> None:
    pushed = push(f"{repository}:v1", "config.json", "--tag", "v1.0", "--tag", "latest", cwd=sample)
    assert set(pushed["tags"]) == {"v1", "v1.0", "latest"}
    assert set(crane.run("ls", repository).split()) == {"v1", "v1.0", "latest"}
    assert {crane.run("digest", f"{repository}:{tag}") for tag in ("v1", "v1.0", "latest")} == {pushed["digest"]}


def test_a_repeated_push_changes_nothing(repository: str, sample: Path, crane: Program) -> None:
    arguments = (f"{repository}:v1", "config.json", "schemas", "--artifact-type", TYPE)
    first, second = push(*arguments, cwd=sample), push(*arguments, cwd=sample)
    assert first == second
    assert crane.run("digest", f"{repository}:v1") == first["digest"]


def test_one_content_has_one_digest_in_every_registry_and_layout(
    registries: Registries, sample: Path, tmp_path: Path
) -> None:
    running = registries.available()
    places = [f"{registry.host}/interop/one-content:v1" for registry in running] + [f"layout:{tmp_path / 'layout'}:v1"]
    digests = {place: push(place, "config.json", "schemas", "empty", cwd=sample)["digest"] for place in places}
    assert len(set(digests.values())) == 1, digests


def test_the_python_library_pulls_what_we_pushed(
    repository: str, sample: Path, tmp_path: Path, oras_py: Program
) -> None:
    push(f"{repository}:v1", "config.json", "schemas/pod.json", cwd=sample)
    out = tmp_path / "out"
    out.mkdir()
    script = "import sys, oras.client as c; c.OrasClient(insecure=True).pull(target=sys.argv[1], outdir=sys.argv[2])"
    oras_py.run("-c", script, f"{repository}:v1", out)
    assert tree(out) == {name: tree(sample)[name] for name in ("config.json", "schemas/pod.json")}
