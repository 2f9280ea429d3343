"""Artifacts that Flux's own library pushes and pulls, and ones of its shape, made byte by byte."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from interop.programs import Program
from interop.projects import Project
from interop.trees import sha256, tree, tree_digest
from support.command import succeed
from support.vendir import HEAD, vendir

pytestmark = pytest.mark.interop

CONFIG_TYPE = "application/vnd.cncf.flux.config.v1+json"
CONTENT_TYPE = "application/vnd.cncf.flux.content.v1.tar+gzip"
CREATED = "2024-01-02T03:04:05Z"


def build_archive(source: Path) -> bytes:
    """The archive as Flux builds it: a root entry `.`, names relative to it, no owners, no times, no links."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in [source, *sorted(source.rglob("*"))]:
            if path.is_symlink():
                continue
            info = tarfile.TarInfo(path.relative_to(source).as_posix())
            info.mode = path.stat().st_mode & 0o777
            if path.is_dir():
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                content = path.read_bytes()
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def publish(oras: Program, repository: str, source: Path, work: Path) -> str:
    """The digest of a Flux artifact of `source`, pushed blob by blob as `v1`."""
    plain = build_archive(source)
    layer = gzip.compress(plain, mtime=0)
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]}
    history = [{"created": "0001-01-01T00:00:00Z"}]
    config = json.dumps(
        {"architecture": "", "created": CREATED, "history": history, "os": "", "rootfs": rootfs, "config": {}},
        separators=(",", ":"),
    ).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": CONFIG_TYPE, "size": len(config), "digest": sha256(config)},
        "layers": [{"mediaType": CONTENT_TYPE, "size": len(layer), "digest": sha256(layer)}],
        "annotations": {
            "org.opencontainers.image.created": CREATED,
            "org.opencontainers.image.revision": "main@sha1:b3b00fe35424a45d373bf4c7214178bc36fd7872",
            "org.opencontainers.image.source": "https://git.example.com/acme/deploy.git",
        },
    }
    work.mkdir()
    for content in (config, layer):
        (work / "blob").write_bytes(content)
        oras.run("blob", "push", "--plain-http", f"{repository}@{sha256(content)}", work / "blob")
    manifest = json.dumps(document, separators=(",", ":")).encode()
    (work / "manifest").write_bytes(manifest)
    oras.run("manifest", "push", "--plain-http", f"{repository}:v1", work / "manifest")
    return sha256(manifest)


def flux_source(sample: Path) -> Path:
    """What Flux would take: it skips links."""
    (sample / "schemas/link.json").unlink()
    return sample


def test_a_flux_artifact_is_extracted(repository: str, sample: Path, tmp_path: Path, oras: Program) -> None:
    source = flux_source(sample)
    digest = publish(oras, repository, source, tmp_path / "work")
    selected = {"artifactType": CONFIG_TYPE, "layers": {"mediaTypes": ["application/vnd.cncf.flux.content.*"]}}
    project = Project(
        tmp_path / "project",
        {"plain": f"{repository}:v1", "selected": {"oci": repository, "tag": "v1", **selected}},
    )
    project.succeed("sync")
    for name in ("plain", "selected"):
        assert tree(project.vendor(name)) == tree(source)
        entry = project.locked(name)
        assert (entry["digest"], entry["artifactType"], entry["tree"]) == (digest, CONFIG_TYPE, tree_digest(source))
        assert [layer["mediaType"] for layer in entry["layers"]] == [CONTENT_TYPE]
    succeed("pull", f"{repository}:v1", "-o", tmp_path / "pulled")
    assert tree(tmp_path / "pulled") == tree(source)


def test_a_part_of_a_flux_artifact_is_taken(repository: str, sample: Path, tmp_path: Path, oras: Program) -> None:
    source = flux_source(sample)
    publish(oras, repository, source, tmp_path / "work")
    part = {"root": "schemas", "include": ["schemas/**"], "exclude": ["**/*.bin"]}
    project = Project(tmp_path / "project", {"part": {"oci": repository, "tag": "v1", **part}})
    project.succeed("sync")
    expected = {name: leaf for name, leaf in tree(source / "schemas").items() if not name.endswith(".bin")}
    assert tree(project.vendor("part")) == expected


def test_what_flux_pushes_is_synced_by_both_dialects(
    repository: str, sample: Path, tmp_path: Path, flux_artifact: Program
) -> None:
    source = flux_source(sample)
    digest = flux_artifact.run("push", f"{repository}:v1", source).rpartition("@")[2]
    project = Project(tmp_path / "project", {"app": f"{repository}:v1"})
    project.succeed("sync")
    assert tree(project.vendor("app")) == tree(source)
    assert (project.locked("app")["digest"], project.locked("app")["artifactType"]) == (digest, CONFIG_TYPE)
    place = tmp_path / "vendir"
    place.mkdir()
    (place / "vendir.yml").write_text(
        f"{HEAD}directories:\n- path: vendor\n  contents:\n  - path: app\n    ociArtifact:\n"
        f"      {{image: {repository}, tag: v1, artifactType: {CONFIG_TYPE}, mediaTypes: ['{CONTENT_TYPE}']}}\n"
    )
    assert vendir("sync", cwd=place).status == 0
    laid = {name: leaf.content for name, leaf in tree(place / "vendor/app").items()}
    assert laid == {name: leaf.content for name, leaf in tree(source).items()}
    assert f"{repository}@{digest}" in (place / "vendir.lock.yml").read_text()


def test_flux_pulls_what_is_pushed_in_its_form(
    repository: str, sample: Path, tmp_path: Path, flux_artifact: Program
) -> None:
    source = flux_source(sample)
    form = ("--artifact-type", CONFIG_TYPE, "--artifact-compat", "config-type")
    told = ("--annotation", "org.opencontainers.image.revision=main@sha1:0123")
    succeed("push", f"{repository}:v1", f"schemas:{CONTENT_TYPE}", *form, *told, cwd=source)
    out = tmp_path / "out"
    out.mkdir()
    meta = json.loads(flux_artifact.run("pull", f"{repository}:v1", out))
    assert meta["source_revision"] == "main@sha1:0123"
    assert tree(out / "schemas") == tree(source / "schemas")
