"""attach and discover."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provender.oci import Digest
from provender.storage.layout import LayoutStorage
from support.graphs import SBOM, SIGNATURE, family, push
from support.registry import Status, TestRegistry
from support.workspace import InProcess, publish, refused


@pytest.fixture
def project(registry: TestRegistry, tmp_path: Path) -> InProcess:
    """An empty directory beside the registry; commands run in this process."""
    directory = tmp_path / "project"
    directory.mkdir()
    return InProcess(directory, registry, tmp_path / "cache")


@pytest.fixture(params=["api", "no-api"])
def either(request: pytest.FixtureRequest, project: InProcess) -> InProcess:
    """The project, its registry with and without the referrers API, and an artifact `acme/app:1.0`."""
    project.registry.content.referrers = request.param == "api"
    publish(project.registry, "acme/app", "1.0", {"a.txt": b"a"})
    (project.directory / "sbom.json").write_text('{"spdxVersion":"SPDX-2.3"}')
    return project


def attach(project: InProcess, subject: str, *arguments: str) -> dict[str, Any]:
    result = project.json("attach", subject, *arguments)
    assert result.status == 0, result.stderr
    return dict(result.json)


def discover(project: InProcess, *arguments: str) -> dict[str, Any]:
    result = project.json("discover", *arguments)
    assert result.status == 0, result.stderr
    return dict(result.json)


def test_what_is_attached_is_discovered(either: InProcess) -> None:
    sbom = attach(either, "acme/app:1.0", "sbom.json:application/spdx+json", "--artifact-type", SBOM)
    subject = either.registry.tags("acme/app")["1.0"]
    assert (sbom["kind"], sbom["subject"], sbom["artifactType"]) == ("attach", subject, SBOM)
    signature = attach(
        either, f"acme/app@{sbom['digest']}", "--artifact-type", SIGNATURE, "-a", "com.example.note=signed"
    )
    found = discover(either, "acme/app:1.0")
    assert (found["digest"], len(found["referrers"])) == (subject, 1)
    below = found["referrers"][0]
    assert (below["digest"], below["artifactType"]) == (sbom["digest"], SBOM)
    assert [each["digest"] for each in below["referrers"]] == [signature["digest"]]
    assert below["referrers"][0]["annotations"] == {"com.example.note": "signed"}
    assert below["referrers"][0]["referrers"] == []
    fallback = Digest(subject).replace(":", "-")
    assert (fallback in either.registry.tags("acme/app")) is not either.registry.content.referrers


def test_the_same_attachment_has_the_same_digest_and_is_listed_once(either: InProcess) -> None:
    digests = {attach(either, "acme/app:1.0", "sbom.json", "--artifact-type", SBOM)["digest"] for _ in range(2)}
    assert len(digests) == 1
    assert len(discover(either, "acme/app:1.0")["referrers"]) == 1


def test_nothing_is_attached_without_content_or_subject(either: InProcess) -> None:
    nothing = either.json("attach", "acme/app:1.0", "--artifact-type", SBOM)
    assert (nothing.status, nothing.error["code"]) == (2, "usage")
    refused(either.json("attach", "acme/app:9", "sbom.json", "--artifact-type", SBOM), 66, "manifest-not-found")
    untyped = either.json("attach", "acme/app:1.0", "sbom.json")
    assert untyped.status == 2
    assert either.registry.count("PUT", "/manifests/") == 0


def test_attaching_to_one_platform_of_an_index(project: InProcess) -> None:
    members = family(LayoutStorage(project.directory / "app", create=True)).digests
    (project.directory / "a.txt").write_text("a")
    found = attach(project, "layout:app:1.0", "a.txt", "--artifact-type", "text/x", "--platform", "linux/arm64")
    assert found["subject"] == members["arm64"]


def test_the_tree_has_everything_by_every_route(project: InProcess) -> None:
    members = family(LayoutStorage(project.directory / "app", create=True)).digests
    said = project.succeed("discover", "layout:app:1.0").stdout.splitlines()
    assert said[0] == f"layout:app@{members['root']}"
    text = "\n".join(said)
    for name in ("signature", "sbom", "sbom-signature", "cosign", "cosign-arm64", "other", "amd64", "arm64"):
        assert members[name] in text
    assert members["attestation"] not in text  # a child to which nothing belongs
    depth = {
        name: next(line for line in said if members[name] in line).index("──")
        for name in members
        if name in ("signature", "sbom", "sbom-signature", "amd64")
    }
    assert depth["signature"] == depth["amd64"] < depth["sbom"] < depth["sbom-signature"]


def test_the_tree_is_filtered_by_type_kind_and_depth(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "app", create=True)
    root = push(layout, "root", "1.0")
    sbom = push(layout, "sbom", subject=root.descriptor, artifact_type=SBOM)
    signature = push(layout, "signature", subject=root.descriptor, artifact_type=SIGNATURE)
    push(layout, "below", subject=sbom.descriptor, artifact_type=SIGNATURE)

    def found(*arguments: str) -> set[str]:
        return {each["digest"] for each in discover(project, "layout:app:1.0", *arguments)["referrers"]}

    assert found("--artifact-type", SBOM) == {sbom.digest}
    assert found("--related", "signature") == {signature.digest}
    assert found("--artifact-type", SBOM, "--related", "signature") == {sbom.digest, signature.digest}
    assert found("--artifact-type", "application/vnd.none") == set()
    shallow = discover(project, "layout:app:1.0", "--depth", "1")
    assert all(each["referrers"] == [] for each in shallow["referrers"])
    assert len(shallow["referrers"]) == 2
    assert project.run("discover", "layout:app:1.0", "--depth", "0").status == 2


def test_a_question_that_was_not_answered_is_an_error(either: InProcess) -> None:
    either.registry.fault(("GET", "/tags/list"), action=Status(403), times=10)
    result = either.json("discover", "acme/app:1.0")
    assert result.status == 77
    assert discover(either, "acme/app:1.0", "--no-digest-tags")["referrers"] == []


def test_types_from_a_registry_cannot_drive_the_terminal(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "app", create=True)
    root = push(layout, "root", "1.0")
    push(layout, "evil", subject=root.descriptor, artifact_type="a/\x1b[31mred")
    assert "\x1b" not in project.succeed("discover", "layout:app:1.0").stdout


def test_a_tree_ends_where_everything_belongs_to_everything(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "app", create=True)
    documents = [push(layout, f"{number}") for number in range(30)]
    layout.tag(documents[0].descriptor, "1.0")
    tags = [
        (f"{owner.digest.replace(':', '-')}.{number}", document)
        for owner in documents
        for number, document in enumerate(documents)
    ]
    layout.finish((), tags)
    lines = project.succeed("discover", "layout:app:1.0").stdout.splitlines()
    assert len(lines) < 10_000
    assert all(any(document.digest in line for line in lines) for document in documents)
    assert len(project.json("discover", "layout:app:1.0").stdout) < 20 << 20
