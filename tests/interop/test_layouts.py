"""OCI layouts: what we write, other clients read, and the other way round; no registry takes part unless named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interop.programs import Program
from interop.trees import tree
from support.command import succeed

pytestmark = pytest.mark.interop


@pytest.fixture
def layout(sample: Path, tmp_path: Path) -> tuple[Path, str]:
    """A layout that we wrote, with the tag `v1`, and the digest that we printed."""
    path = tmp_path / "layout"
    reference = f"layout:{path}:v1"
    document = succeed("push", reference, "config.json", "empty", "schemas", "--format", "json", cwd=sample).json
    return path, document["digest"]


def test_oras_reads_our_layout(layout: tuple[Path, str], sample: Path, tmp_path: Path, oras: Program) -> None:
    path, digest = layout
    described = json.loads(oras.run("manifest", "fetch", "--oci-layout", "--descriptor", f"{path}:v1"))
    assert described["digest"] == digest
    assert oras.run("repo", "tags", "--oci-layout", path).split() == ["v1"]
    oras.run("pull", "--oci-layout", f"{path}:v1", "-o", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(sample)


def test_regctl_reads_our_layout(layout: tuple[Path, str], regctl: Program) -> None:
    path, digest = layout
    assert regctl.run("manifest", "head", f"ocidir://{path}:v1") == digest
    assert regctl.run("tag", "ls", f"ocidir://{path}").split() == ["v1"]


def test_skopeo_reads_our_layout(layout: tuple[Path, str], tmp_path: Path, skopeo: Program) -> None:
    path, digest = layout
    raw = skopeo.attempt("inspect", "--raw", f"oci:{path}:v1").stdout
    assert raw == (path / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    skopeo.run("--insecure-policy", "copy", "--preserve-digests", f"oci:{path}:v1", f"dir:{tmp_path / 'out'}")
    assert (tmp_path / "out/manifest.json").read_bytes() == raw


def test_crane_pushes_our_layout_to_a_registry(layout: tuple[Path, str], repository: str, crane: Program) -> None:
    path, digest = layout
    crane.run("push", path, f"{repository}:v1")
    assert crane.run("digest", f"{repository}:v1") == digest
    assert succeed("resolve", f"{repository}:v1").stdout.strip() == digest


def test_we_read_the_layouts_of_other_clients(
    repository: str,
    sample: Path,
    tmp_path: Path,
    oras: Program,
    crane: Program,
    regctl: Program,
    skopeo: Program,
) -> None:
    oras.run("push", "--plain-http", f"{repository}:v1", "config.json", "empty", "schemas", cwd=sample)
    digest = crane.run("digest", f"{repository}:v1")
    host = ("--host", f"reg={repository.partition('/')[0]},tls=disabled")
    oras.run("cp", "--from-plain-http", "--to-oci-layout", f"{repository}:v1", f"{tmp_path / 'of-oras'}:v1")
    regctl.run(*host, "image", "copy", f"{repository}:v1", f"ocidir://{tmp_path / 'of-regctl'}:v1")
    tls = ("--insecure-policy", "copy", "--preserve-digests", "--src-tls-verify=false")
    skopeo.run(*tls, f"docker://{repository}:v1", f"oci:{tmp_path / 'of-skopeo'}:v1")
    for client in ("oras", "regctl", "skopeo"):
        reference = f"layout:{tmp_path / f'of-{client}'}"
        assert succeed("resolve", f"{reference}:v1").stdout.strip() == digest
        assert succeed("tags", reference).stdout.split() == ["v1"]
        succeed("pull", f"{reference}@{digest}", "-o", tmp_path / f"out-{client}")
        assert tree(tmp_path / f"out-{client}") == tree(sample)


def test_a_layout_that_oras_began_is_continued_by_us_and_by_oras(sample: Path, tmp_path: Path, oras: Program) -> None:
    path = tmp_path / "shared"
    oras.run("push", "--oci-layout", f"{path}:one", "config.json", cwd=sample)
    one = succeed("resolve", f"layout:{path}:one").stdout.strip()
    two = succeed("push", f"layout:{path}:two", "schemas", "--format", "json", cwd=sample).json["digest"]
    oras.run("tag", "--oci-layout", f"{path}:two", "three")
    assert sorted(succeed("tags", f"layout:{path}").stdout.split()) == ["one", "three", "two"]
    found = [succeed("resolve", f"layout:{path}:{tag}").stdout.strip() for tag in ("one", "two", "three")]
    assert found == [one, two, two]
    assert sorted(oras.run("repo", "tags", "--oci-layout", path).split()) == ["one", "three", "two"]
