"""copy: from any storage to any other, with what belongs to it, and what it says about it."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.storage.archive import ArchiveStorage
from provender.storage.compression import open_stream
from provender.storage.layout import LayoutStorage
from provender.storage.limits import DEFAULT_LIMITS
from provender.storage.verify import BytesReader, read_all
from support.command import provender_forked
from support.foreign_archives import docker_archive
from support.graphs import family, push, relations, walk
from support.registry import TestRegistry, digest_of
from support.registry_client import Repositories
from support.workspace import InProcess, refused


@pytest.fixture
def project(registry: TestRegistry, tmp_path: Path) -> InProcess:
    """An empty directory beside the registry; commands run in this process."""
    directory = tmp_path / "project"
    directory.mkdir()
    return InProcess(directory, registry, tmp_path / "cache")


@pytest.fixture(params=["api", "no-api"])
def either(request: pytest.FixtureRequest, project: InProcess) -> InProcess:
    """The project, its registry with and without the referrers API."""
    project.registry.content.referrers = request.param == "api"
    return project


@pytest.fixture
def stored() -> Iterator[Repositories]:
    """Gives repositories of the registry; their connections are closed at the end."""
    repositories = Repositories()
    yield repositories
    repositories.close()


@pytest.fixture
def source(either: InProcess) -> LayoutStorage:
    """A layout `source` in the project with a family of artifacts."""
    layout = LayoutStorage(either.directory / "source", create=True)
    family(layout)
    return layout


def test_a_copy_brings_everything_to_a_registry_and_back(
    either: InProcess, source: LayoutStorage, stored: Repositories
) -> None:
    expected = relations(walk(source, "1.0"))
    said = either.succeed("copy", "layout:source:1.0", "acme/app")
    digest = source.resolve("1.0").digest
    assert said.stdout == f"acme/app@{digest}\n"
    assert relations(walk(stored(either.registry, "acme/app"), "1.0")) == expected
    either.prepare("copy", "acme/app:1.0", "layout:back:2.0", "--tag", "latest")
    back = LayoutStorage(either.directory / "back")
    assert {back.resolve("2.0").digest, back.resolve("latest").digest} == {digest}
    assert relations(walk(back, "2.0")) == expected
    with tarfile.open(either.directory / "back.tar", "w") as archive:
        archive.add(either.directory / "back", ".")
    either.prepare("copy", "layout:back.tar:2.0", "acme/again:1.0")
    assert relations(walk(stored(either.registry, "acme/again"), "1.0")) == expected


def test_as_json_every_node_is_there_with_what_became_of_it(either: InProcess, source: LayoutStorage) -> None:
    result = either.json("copy", "layout:source:1.0", "acme/app:1.0")
    assert result.status == 0, result.stderr
    found = result.json
    assert (found["kind"], found["version"]) == ("copy", 1)
    assert found["tags"] == ["1.0"]
    assert len(found["digestTags"]) == 3
    graph = walk(source, "1.0")
    assert [node["digest"] for node in found["nodes"]] == [node.digest for node in graph.nodes]
    assert {node["action"] for node in found["nodes"]} == {"copied"}
    assert {node["role"] for node in found["nodes"]} == {
        "root",
        "child",
        "attestation-in-index",
        "referrer",
        "digest-tag",
        "config",
        "layer",
    }
    assert found["sentBytes"] == sum(node.descriptor.size for node in graph.nodes)


def test_a_dry_run_says_what_would_be_copied_and_writes_nothing(either: InProcess, source: LayoutStorage) -> None:
    result = either.json("copy", "layout:source:1.0", "acme/app:1.0", "--dry-run")
    assert result.status == 0, result.stderr
    assert result.json["kind"] == "copy-plan"
    assert len(result.json["missing"]) == len(walk(source, "1.0").nodes)
    assert {request.method for request in either.registry.requests} <= {"GET", "HEAD"}
    local = either.succeed("copy", "layout:source:1.0", "layout:nowhere", "--dry-run")
    assert "tag 1.0 -> sha256:" in local.stdout
    assert not (either.directory / "nowhere").exists()


def test_a_fast_repeat_costs_two_requests_a_tag(either: InProcess, source: LayoutStorage) -> None:
    either.prepare("copy", "layout:source:1.0", "acme/app")
    either.prepare("copy", "acme/app:1.0", "acme/mirror")
    either.registry.requests.clear()
    said = either.succeed("copy", "acme/app:1.0", "acme/mirror", "--fast")
    assert "nothing to do" in said.stderr
    assert [request.method for request in either.registry.requests] == ["HEAD", "HEAD"]


def test_within_one_registry_no_blob_is_sent(either: InProcess, source: LayoutStorage) -> None:
    either.prepare("copy", "layout:source:1.0", "acme/app")
    either.registry.requests.clear()
    result = either.json("copy", "acme/app:1.0", "acme/mirror")
    assert result.status == 0, result.stderr
    assert {node["action"] for node in result.json["nodes"] if node["role"] in ("config", "layer")} == {"mounted"}
    assert either.registry.count("(GET|PUT)", "/blobs/") == 0


def test_one_platform_is_its_manifest_and_what_belongs_to_it(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    members = family(layout).digests
    said = project.succeed("copy", "layout:source:1.0", "layout:out", "--platform", "linux/amd64")
    out = LayoutStorage(project.directory / "out")
    graph = walk(out, "1.0")
    assert graph.roots[0].digest == members["amd64"]
    assert set(graph.by_digest) == {members["amd64"], members["sbom"], members["sbom-signature"]}
    assert "belong to the index" in said.stderr
    assert members["signature"] in said.stderr


def test_several_platforms_are_a_new_index_with_their_attestations(project: InProcess, stored: Repositories) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    members = family(layout).digests
    third = push(layout, "windows", artifact_type=None)
    project.prepare("index", "update", "layout:source:1.0", "--add", third.digest)
    result = project.json(
        "copy", "layout:source:1.0", "acme/app", "--platform", "linux/arm64", "--platform", "linux/amd64"
    )
    assert result.status == 0, result.stderr
    assert result.json["isNewIndex"] is True
    children = [child.digest for child in stored(project.registry, "acme/app").resolve("1.0").index().manifests]
    assert children == [members["amd64"], members["arm64"], members["attestation"]]
    missing = project.json("copy", "layout:source:1.0", "acme/app", "--platform", "linux/s390x", "--platform", "a/b")
    assert "linux/amd64" in refused(missing, 66, "no-matching-platform")["hint"]


def test_related_content_is_chosen(project: InProcess, stored: Repositories) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    members = family(layout).digests
    project.prepare("copy", "layout:source:1.0", "acme/app", "--related", "sbom")
    graph = walk(stored(project.registry, "acme/app"), "1.0")
    assert members["sbom"] in graph.by_digest
    assert members["signature"] not in graph.by_digest
    assert set(project.registry.tags("acme/app")) == {"1.0", members["amd64"].replace(":", "-")}
    refused(project.json("copy", "layout:source:1.0", "acme/app", "--related", "signatures"), 2, "invalid-related")


@pytest.fixture
def other() -> Iterator[TestRegistry]:
    """A second registry, with a password of its own."""
    with TestRegistry(auth="basic", password="another-secret") as server:
        yield server


def test_each_side_has_its_credentials(project: InProcess, other: TestRegistry) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    family(layout)
    unknown = project.json("copy", "layout:source:1.0", f"{other.host}/acme/app:1.0")
    refused(unknown, 77, "no-credentials")
    arguments = ["--to-username", other.username, "--to-password-stdin"]
    result = provender_forked(
        "copy",
        "layout:source:1.0",
        f"{other.host}/acme/app:1.0",
        *arguments,
        cwd=project.directory,
        env=project.env,
        stdin="another-secret\n",
    )
    assert result.status == 0, result.stderr
    assert "1.0" in other.tags("acme/app")
    assert "another-secret" not in result.stderr


def test_a_destination_that_does_not_list_is_84(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    family(layout)
    project.registry.content.referrers = True
    project.registry.content.referrer_rules.lists = False
    refused(project.json("copy", "layout:source:1.0", "acme/app"), 84, "not-discoverable")
    assert "1.0" not in project.registry.tags("acme/app")
    project.prepare("copy", "layout:source:1.0", "acme/app", "--no-require-listing")
    assert "1.0" in project.registry.tags("acme/app")


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["layout:source:9.9", "acme/app"], 66, "tag-not-found"),
        (["layout:nowhere:1.0", "acme/app"], 66, "layout-not-found"),
        (["layout:source:1.0", f"acme/app@sha256:{'0' * 64}"], 2, "digest-given"),
        (["layout:source:1.0", "acme/app", "--platform", "linux"], 2, "invalid-platform"),
        (["layout:source:1.0", "acme/app", "--tag", "-x"], 2, "invalid-tag"),
        (["layout:source:1.0", "acme/app", "--to-username", "ada"], 2, "usage"),
    ],
)
def test_a_copy_that_cannot_be_made_writes_nothing(
    project: InProcess, arguments: list[str], status: int, code: str
) -> None:
    family(LayoutStorage(project.directory / "source", create=True))
    result = project.json("copy", *arguments)
    assert (result.status, result.error["code"]) == (status, code), result.stderr
    assert result.error["hint"]
    assert project.registry.tags("acme/app") == {}


# Archives


def test_an_archive_has_the_same_bytes_each_time_and_carries_everything(
    project: InProcess, stored: Repositories
) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    family(layout)
    lone = push(layout, "lone", artifact_type="application/vnd.dev.sigstore.bundle.v0.3+json")
    layout.relate({layout.resolve("1.0").digest: [lone.descriptor]})
    expected = relations(walk(layout, "1.0"))
    project.prepare("copy", "layout:source:1.0", "layout:one.tar")
    project.prepare("copy", "layout:source:1.0", "acme/app")
    project.prepare("copy", "acme/app:1.0", "layout:two.tar")
    first = (project.directory / "one.tar").read_bytes()
    with tarfile.open(project.directory / "one.tar") as opened:
        assert opened.getnames()[:2] == ["oci-layout", "index.json"]
    assert relations(walk(ArchiveStorage(project.directory / "one.tar"), "1.0")) == expected
    assert (project.directory / "two.tar").read_bytes() == first
    refused(project.json("copy", "layout:source:1.0", "layout:one.tar"), 1, "archive-exists")
    project.prepare("copy", "layout:source:1.0", "layout:one.tar", "--force")
    assert (project.directory / "one.tar").read_bytes() == first
    project.prepare("copy", "layout:one.tar:1.0", "acme/again")
    assert relations(walk(stored(project.registry, "acme/again"), "1.0")) == expected


def test_a_delta_says_what_it_lacks_and_needs_it_at_the_destination(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    base = os.urandom(100_000)
    push(layout, "one", "1.0", layers=[base])
    push(layout, "two", "2.0", layers=[base, os.urandom(90_000)])
    project.prepare("copy", "layout:source:1.0", "layout:one.tar")
    result = project.json("copy", "layout:source:2.0", "layout:two.tar", "--since", "layout:one.tar")
    assert result.status == 0, result.stderr
    assert [each["digest"] for each in result.json["lacks"]] == [digest_of(base)]
    assert (project.directory / "two.tar").stat().st_size < 120_000
    # A delta of a delta builds on both, as the inventory of the second says.
    push(layout, "three", "3.0", layers=[base])
    third = project.json("copy", "layout:source:3.0", "layout:three.tar", "--since", "layout:two.tar")
    assert [each["digest"] for each in third.json["lacks"]] == [digest_of(base)]
    # The inventory alone says the same, and exactly what the delta lacks.
    project.prepare("pull", "layout:two.tar:provender.inventory", "-o", "kept")
    kept = json.loads((project.directory / "kept/inventory.json").read_bytes())
    assert [row["digest"] for row in kept["content"] if not row["isHere"]] == [digest_of(base)]
    again = project.json("copy", "layout:source:3.0", "layout:same.tar", "--since", "kept/inventory.json")
    assert again.json["lacks"] == third.json["lacks"]
    assert (project.directory / "same.tar").read_bytes() == (project.directory / "three.tar").read_bytes()
    (project.directory / "bad.json").write_text('{"version": 2}')
    refused(project.json("copy", "layout:source:3.0", "layout:x.tar", "--since", "bad.json"), 65, "invalid-inventory")
    error = refused(
        project.json("copy", "layout:source:3.0", "layout:x.tar", "--since", "./no"), 66, "inventory-not-found"
    )
    assert error["where"] == "./no"
    error = refused(project.json("copy", "layout:two.tar:2.0", "acme/app"), 66, "delta-incomplete")
    assert digest_of(base) in error["message"]
    assert project.registry.count("(PUT|POST)") == 0
    project.prepare("copy", "layout:one.tar:1.0", "acme/app")
    again = project.json("copy", "layout:source:2.0", "layout:direct.tar", "--since", "acme/app")
    assert [each["digest"] for each in again.json["lacks"]] == [digest_of(base)]
    project.prepare("copy", "layout:two.tar:2.0", "acme/app")
    project.prepare("pull", "acme/app:2.0", "-o", "out")


def test_what_an_archive_is_to_build_on_has_to_be_there(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    push(layout, "one", "1.0", layers=[os.urandom(100_000)])
    for place, status, code in (
        ("acme/none", 66, "since-not-found"),
        ("layout:none", 66, "layout-not-found"),
        ("layout:source:9", 66, "tag-not-found"),
    ):
        refused(project.json("copy", "layout:source:1.0", "layout:x.tar", "--since", place), status, code)
    push(LayoutStorage(project.directory / "other", create=True), "other", "1.0")
    LayoutStorage(project.directory / "empty", create=True)
    for place in ("layout:empty", "layout:other", "layout:other:1.0"):
        result = project.succeed("copy", "layout:source:1.0", "layout:x.tar", "--force", "--since", place)
        assert "the archive has everything" in result.stderr


@pytest.mark.parametrize("name", ["a.tgz", "a.tar.gz", "a.tar.xz", "a.tar.001", "a.tar.zst.parts"])
def test_an_archive_in_a_form_that_is_only_read_is_not_begun(project: InProcess, name: str) -> None:
    family(LayoutStorage(project.directory / "source", create=True))
    for arguments in (
        ("copy", "layout:source:1.0", f"layout:{name}"),
        ("bundle", "copy", "-b", "layout:source:1.0", "--to-tar", name),
    ):
        error = project.json(*arguments).error
        assert (error["exit"], "FILE.tar.zst" in error["message"]) == (2, True)
    assert [path.name for path in project.directory.iterdir()] == ["source"]


def test_parts_of_something_else_are_not_replaced(project: InProcess) -> None:
    push(LayoutStorage(project.directory / "source", create=True), "one", "1.0", layers=[os.urandom(3 << 20)])
    names = ["a.tar.002", "a.tar.007", "a.tar.1000"]
    for name in names:
        (project.directory / name).write_text("mine")
        refused(project.json("copy", "layout:source:1.0", "layout:a.tar", "--split", "1M"), 1, "archive-exists")
        assert (project.directory / name).read_text() == "mine"
        (project.directory / name).unlink()
    assert [path.name for path in project.directory.iterdir()] == ["source"]


def test_a_layout_that_nothing_came_into_is_not_left(project: InProcess) -> None:
    for arguments in (
        ("copy", "acme/none:1.0", "layout:deep/out"),
        ("bundle", "copy", "-b", "acme/none:1.0", "--to-repo", "layout:out"),
    ):
        assert project.json(*arguments).status == 66
        assert list(project.directory.iterdir()) == []


def test_a_place_where_no_archive_can_be_is_told_of_before_anything_is_asked(project: InProcess) -> None:
    error = refused(project.json("copy", "acme/app:1.0", "layout:no/a.tar"), 74, "local-io")
    assert error["where"] == "no/a.tar"
    assert project.registry.requests == []


def test_a_wrong_byte_in_an_archive_is_found_before_anything_is_sent(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    content = os.urandom(70_000)
    push(layout, "one", "1.0", layers=[content])
    project.prepare("copy", "layout:source:1.0", "layout:one.tar")
    raw = bytearray((project.directory / "one.tar").read_bytes())
    raw[raw.index(content) + 5] ^= 1
    (project.directory / "one.tar").write_bytes(raw)
    refused(project.json("copy", "layout:one.tar:1.0", "acme/app"), 65, "digest-mismatch")
    assert project.registry.count("(PUT|POST)") == 0


def test_an_archive_that_fails_leaves_no_file(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    layer = push(layout, "one", "1.0", layers=[b"right"]).manifest().layers[1]
    (project.directory / "source/blobs/sha256" / layer.digest.encoded).write_bytes(b"wrong")
    refused(project.json("copy", "layout:source:1.0", "layout:one.tar"), 65, "digest-mismatch")
    assert [path.name for path in project.directory.iterdir()] == ["source"]


def test_a_compressed_archive_is_the_same_archive(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    push(layout, "one", "1.0", layers=[bytes(200_000)])
    project.prepare("copy", "layout:source:1.0", "layout:one.tar")
    for _ in range(2):
        project.prepare("copy", "layout:source:1.0", "layout:one.tar.zst", "--force")
    compressed = (project.directory / "one.tar.zst").read_bytes()
    assert len(compressed) < 20_000
    stream = open_stream(BytesReader(compressed), "zstd", DEFAULT_LIMITS, where="it")
    assert read_all(stream, 1 << 20) == (project.directory / "one.tar").read_bytes()
    project.prepare("copy", "layout:one.tar.zst:1.0", "layout:back")
    assert relations(walk(LayoutStorage(project.directory / "back"), "1.0")) == relations(walk(layout, "1.0"))


@pytest.mark.parametrize("suffix", [".tar", ".tar.zst"])
def test_an_archive_in_parts_is_the_archive_and_says_which_part_is_wrong(project: InProcess, suffix: str) -> None:
    layout = LayoutStorage(project.directory / "source", create=True)
    push(layout, "one", "1.0", layers=[os.urandom(1_500_000), os.urandom(1_500_000)])
    name = f"one{suffix}"
    result = project.json("copy", "layout:source:1.0", f"layout:{name}", "--split", "1MiB")
    assert result.json["reference"].startswith(f"layout:{name}.001@")
    parts = [project.directory / part["name"] for part in result.json["parts"]]
    assert [path.name for path in parts] == [f"{name}.00{number}" for number in range(1, len(parts) + 1)]
    assert {path.stat().st_size for path in parts[:-1]} == {1 << 20}
    refused(project.json("copy", "layout:source:1.0", f"layout:{name}", "--split", "1M"), 1, "archive-exists")
    project.prepare("copy", "layout:source:1.0", f"layout:whole{suffix}")
    again = project.json("copy", "layout:source:1.0", f"layout:whole{suffix}", "--split", "1M", "--force")
    refused(again, 1, "archive-exists")  # which would be read instead of its parts
    assert b"".join(path.read_bytes() for path in parts) == (project.directory / f"whole{suffix}").read_bytes()
    for number, written in enumerate((f"{name}.001", f"{name}.parts", name)):
        project.prepare("copy", f"layout:{written}:1.0", f"layout:back{number}")
        assert relations(walk(LayoutStorage(project.directory / f"back{number}"), "1.0")) == relations(
            walk(layout, "1.0")
        )
    second = parts[1].read_bytes()
    parts[1].write_bytes(second[:-1] + bytes([second[-1] ^ 1]))
    refused(project.json("copy", f"layout:{name}.001:1.0", "acme/app"), 65, "part-damaged")
    parts[1].write_bytes(parts[0].read_bytes())
    refused(project.json("copy", f"layout:{name}.001:1.0", "acme/app"), 65, "parts-swapped")
    parts[1].unlink()
    refused(project.json("copy", f"layout:{name}.001:1.0", "acme/app"), 66, "part-missing")
    assert project.registry.count("(PUT|POST)") == 0


def test_what_an_archive_turned_out_to_be_is_said(project: InProcess) -> None:
    (project.directory / "saved.tar").write_bytes(docker_archive("legacy"))
    said = project.succeed("copy", "layout:saved.tar:1.0", "acme/app")
    assert "saved.tar is an archive of docker save" in said.stderr
    assert project.json("tags", "layout:saved.tar").json["repositories"] == ["docker.io/acme/app"]
    shown = project.json("show", "acme/app:1.0").json
    assert shown["digest"] == project.json("show", "layout:saved.tar/docker.io/acme/app:1.0").json["digest"]
