"""Artifacts in the shape that Flux pushes: a config of Flux's type and one archive without a title."""

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
