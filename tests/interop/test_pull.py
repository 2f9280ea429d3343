"""What other clients push, we lay down as they would: by `pull` into a directory and by `sync` into a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.programs import Program
from interop.projects import Project
from interop.trees import tree, tree_digest
from support.command import provender, succeed

pytestmark = pytest.mark.interop

TYPE = "application/vnd.example.bundle.v1"
CONFIG = "application/vnd.example.config.v1+json"
FILES = ("config.json:application/json", "empty:text/plain", "schemas")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="defaults"),
        pytest.param(("--image-spec", "v1.0", "--config", f"config.json:{CONFIG}"), id="image-spec-1.0"),
    ],
)
def test_what_oras_pushed_is_pulled_as_oras_pulls_it(
    repository: str, sample: Path, tmp_path: Path, oras: Program, options: tuple[str, ...]
) -> None:
    oras.run("push", "--plain-http", *options, f"{repository}:v1", *FILES, cwd=sample)
    oras.run("pull", "--plain-http", f"{repository}:v1", "-o", tmp_path / "theirs")
    succeed("pull", f"{repository}:v1", "-o", tmp_path / "ours")
    assert tree(tmp_path / "ours") == tree(tmp_path / "theirs") == tree(sample)


def test_what_oras_pushed_is_synced_by_tag_and_by_digest(
    repository: str, sample: Path, tmp_path: Path, oras: Program, crane: Program
) -> None:
    oras.run("push", "--plain-http", "--artifact-type", TYPE, f"{repository}:v1", *FILES, cwd=sample)
    digest = crane.run("digest", f"{repository}:v1")
    project = Project(
        tmp_path / "project",
        {
            "tagged": {"oci": repository, "tag": "v1", "artifactType": TYPE},
            "pinned": f"{repository}@{digest}",
        },
    )
    project.succeed("sync")
    for name in ("tagged", "pinned"):
        assert tree(project.vendor(name)) == tree(sample)
        entry = project.locked(name)
        assert (entry["digest"], entry["artifactType"], entry["tree"]) == (digest, TYPE, tree_digest(sample))
    assert project.run("check").status == 0


def test_an_artifact_of_another_type_is_refused(repository: str, sample: Path, tmp_path: Path, oras: Program) -> None:
    oras.run("push", "--plain-http", "--artifact-type", TYPE, f"{repository}:v1", *FILES, cwd=sample)
    project = Project(tmp_path / "project", {"x": {"oci": repository, "tag": "v1", "artifactType": f"{TYPE}.other"}})
    result = project.run("sync", "--format", "json")
    assert result.status != 0
    assert TYPE in result.stderr
    assert not project.vendor("x").exists()
    assert not (project.directory / "provender.lock").exists()


def test_what_the_python_library_pushed_is_pulled(
    repository: str, sample: Path, tmp_path: Path, oras_py: Program
) -> None:
    script = (
        "import sys, oras.client as c;"
        "c.OrasClient(insecure=True).push(target=sys.argv[1], files=sys.argv[2:], disable_path_validation=True)"
    )
    oras_py.run("-c", script, f"{repository}:v1", "config.json:application/json", "schemas/pod.json", cwd=sample)
    succeed("pull", f"{repository}:v1", "-o", tmp_path / "out")
    leaves = tree(sample)  # that library titles a file by its last component
    assert tree(tmp_path / "out") == {"config.json": leaves["config.json"], "pod.json": leaves["schemas/pod.json"]}


def test_an_image_of_imgpkg_is_refused_whole_and_taken_by_media_type(
    repository: str, sample: Path, tmp_path: Path, imgpkg: Program
) -> None:
    (sample / "schemas/link.json").unlink()  # imgpkg takes no links
    imgpkg.run("push", "--tty=false", "-y", "-i", f"{repository}:v1", "-f", "schemas", cwd=sample)
    imgpkg.run("pull", "--tty=false", "-y", "-i", f"{repository}:v1", "-o", tmp_path / "theirs")
    refused = provender("pull", f"{repository}:v1", "-o", tmp_path / "refused", "--format", "json")
    assert (refused.status, refused.error["code"]) == (69, "container-image")
    types = ["application/vnd.*.image.rootfs.diff.tar.gzip", "application/vnd.oci.image.layer.v1.tar+gzip"]
    project = Project(tmp_path / "project", {"x": {"oci": repository, "tag": "v1", "layers": {"mediaTypes": types}}})
    project.succeed("sync")
    ours, theirs = tree(project.vendor("x")), tree(tmp_path / "theirs")
    # imgpkg keeps the modes of the user alone; only names and content are compared.
    assert {name: leaf.content for name, leaf in ours.items()} == {name: leaf.content for name, leaf in theirs.items()}
