"""Indexes that oras and regctl made: the right child is chosen, and a platform that is not there is an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interop.programs import Program
from interop.projects import Project
from interop.registries import Registry
from support.command import provender, succeed

pytestmark = pytest.mark.interop

PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")


def publish_children(oras: Program, repository: str, sample: Path, *, typed: bool) -> list[str]:
    """The tags of one artifact for each platform, whose `tool` says which it is."""
    tags = []
    for platform in PLATFORMS:
        tag = platform.replace("/", "-")
        (sample / "tool").write_text(platform)
        options = ("--artifact-platform", platform) if typed else ()
        oras.run("push", "--plain-http", *options, f"{repository}:{tag}", "tool:application/octet-stream", cwd=sample)
        tags.append(tag)
    return tags


@pytest.fixture
def index(repository: str, sample: Path, oras: Program) -> str:
    """A reference of an index by `oras manifest index create`."""
    tags = publish_children(oras, repository, sample, typed=True)
    oras.run("manifest", "index", "create", "--plain-http", f"{repository}:multi", *tags)
    return f"{repository}:multi"


def test_the_child_of_each_platform_is_pulled(index: str, tmp_path: Path, crane: Program) -> None:
    assert succeed("resolve", index).stdout.strip() == crane.run("digest", index)
    for number, platform in enumerate(PLATFORMS):
        succeed("pull", index, "--platform", platform, "-o", tmp_path / str(number))
        assert (tmp_path / str(number) / "tool").read_text() == platform


def test_the_lock_names_the_index_and_the_child(index: str, tmp_path: Path, crane: Program) -> None:
    repository, _, _ = index.rpartition(":")
    project = Project(tmp_path / "project", {"tool": {"oci": repository, "tag": "multi", "platform": "linux/arm64"}})
    project.succeed("sync")
    entry = project.locked("tool")
    assert entry["digest"] == crane.run("digest", index)
    assert entry["manifest"] == crane.run("digest", f"{repository}:linux-arm64")
    assert (project.vendor("tool") / "tool").read_text() == "linux/arm64"
    assert project.run("check").status == 0


def test_a_platform_that_is_not_there_is_an_error(index: str, tmp_path: Path) -> None:
    result = provender("pull", index, "--platform", "windows/amd64", "-o", tmp_path / "out", "--format", "json")
    assert (result.status, result.error["code"]) == (66, "no-matching-platform")
    assert "linux/arm64" in result.error["hint"]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_an_index_of_regctl_is_chosen_from(
    repository: str, registry: Registry, sample: Path, tmp_path: Path, oras: Program, crane: Program, regctl: Program
) -> None:
    host = ("--host", f"reg={registry.host},tls=disabled")
    tags = publish_children(oras, repository, sample, typed=False)
    for number, (tag, platform) in enumerate(zip(tags, PLATFORMS, strict=True)):
        digest = crane.run("digest", f"{repository}:{tag}")
        verb = "add" if number else "create"
        regctl.run(*host, "index", verb, f"{repository}:multi", "--digest", digest, "--desc-platform", platform)
    children = json.loads(crane.run("manifest", f"{repository}:multi"))["manifests"]
    assert [child["platform"]["architecture"] for child in children] == ["amd64", "arm64", "arm"]
    for number, platform in enumerate(PLATFORMS):
        succeed("pull", f"{repository}:multi", "--platform", platform, "-o", tmp_path / str(number))
        assert (tmp_path / str(number) / "tool").read_text() == platform
