"""An archive of `export` is an OCI layout that other clients read; no registry takes part."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from interop.programs import Program
from interop.trees import tree
from support.command import succeed

pytestmark = pytest.mark.interop


@pytest.fixture
def archive(sample: Path, tmp_path: Path) -> tuple[Path, str]:
    """The export of a project with one artifact and a directory, and the artifact's digest."""
    project = tmp_path / "project"
    (project / "shared").mkdir(parents=True)
    (project / "shared/s.txt").write_text("s")
    environment = {"PROVENDER_CACHE_DIR": str(tmp_path / "cache")}
    pushed = succeed(
        "push", f"layout:{tmp_path}/store/thing:v1", "config.json", "schemas", "--format", "json", cwd=sample
    )
    manifest = {
        "version": 1,
        "registries": {"acme": {"location": f"layout:{tmp_path}/store"}},
        "dependencies": {"thing": "acme/thing:v1", "shared": {"directory": "shared"}},
    }
    (project / "provender.yaml").write_text(json.dumps(manifest))
    succeed("sync", cwd=project, env=environment)
    path = tmp_path / "project.tar"
    succeed("export", "-o", path, cwd=project, env=environment)
    return path, pushed.json["digest"]


def test_oras_pulls_from_the_archive(archive: tuple[Path, str], tmp_path: Path, oras: Program) -> None:
    path, digest = archive
    assert oras.run("repo", "tags", "--oci-layout", path).split() == ["acme/thing:v1"]
    oras.run("pull", "--oci-layout", f"{path}@{digest}", "-o", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "project/vendor/thing")


def test_skopeo_copies_out_of_the_archive(archive: tuple[Path, str], tmp_path: Path, skopeo: Program) -> None:
    path, digest = archive
    raw = skopeo.attempt("inspect", "--raw", f"oci-archive:{path}:acme/thing:v1").stdout
    skopeo.run(
        "--insecure-policy",
        "copy",
        "--preserve-digests",
        f"oci-archive:{path}:acme/thing:v1",
        f"dir:{tmp_path / 'out'}",
    )
    assert (tmp_path / "out/manifest.json").read_bytes() == raw
    assert hashlib.sha256(raw).hexdigest() == digest.removeprefix("sha256:")
