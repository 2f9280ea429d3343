"""show, untag, delete, index, manifest, blob."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from provender.oci import Document
from provender.storage.layout import LayoutStorage
from support.command import provender_forked
from support.graphs import family, push
from support.registry import TestRegistry, digest_of
from support.workspace import InProcess, publish, refused


@pytest.fixture
def project(registry: TestRegistry, tmp_path: Path) -> InProcess:
    """An empty directory beside the registry; commands run in this process."""
    directory = tmp_path / "project"
    directory.mkdir()
    return InProcess(directory, registry, tmp_path / "cache")


@pytest.fixture(params=["registry", "layout"])
def place(request: pytest.FixtureRequest, project: InProcess) -> str:
    """A repository, of the test registry or as a layout."""
    return "acme/app" if request.param == "registry" else "layout:./app"


def document(project: InProcess, *arguments: str | Path) -> dict[str, Any]:
    result = project.json(*arguments)
    assert result.status == 0, result.stderr
    return dict(result.json)


def pushed(project: InProcess, place: str, *tags: str) -> str:
    """An artifact with one file; its digest."""
    (project.directory / "a.txt").write_text("alpha\n")
    more = [word for tag in tags[1:] for word in ("--tag", tag)]
    return str(document(project, "push", f"{place}:{tags[0]}", "a.txt", *more)["digest"])


# --- blob


def test_a_blob_is_pushed_fetched_and_deleted(project: InProcess, place: str) -> None:
    content = bytes(range(256)) * 64
    (project.directory / "in.bin").write_bytes(content)
    digest = digest_of(content)
    if place.startswith("layout"):
        pushed(project, place, "1")
    pushing = project.succeed("blob", "push", f"{place}@{digest}", "in.bin", "--size", str(len(content)))
    assert pushing.stdout == f"{place}@{digest}\n"
    project.prepare("blob", "fetch", f"{place}@{digest}", "-o", "out.bin")
    assert (project.directory / "out.bin").read_bytes() == content
    part = project.outside("blob", "fetch", f"{place}@{digest}", "--offset", "65", "--length", "26")
    assert part.stdout == content[65:91].decode()
    described = document(project, "blob", "fetch", f"{place}@{digest}", "--descriptor")
    assert (described["digest"], described["size"]) == (digest, len(content))
    unasked = project.json("blob", "delete", f"{place}@{digest}")
    assert (unasked.status, unasked.error["code"]) == (2, "usage")
    project.prepare("blob", "delete", f"{place}@{digest}", "--force")
    assert project.json("blob", "fetch", f"{place}@{digest}").status == 66


def test_a_file_is_hashed_once_on_its_way_to_a_registry(project: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project.directory / "in.bin"
    path.write_bytes(bytes(range(256)) * (8 << 10))
    os.utime(path, (1, 1))
    hashed: list[int] = []
    real, mine = hashlib.new, threading.get_ident()

    class Counting:
        def __init__(self, name: str, content: bytes = b"") -> None:
            self.hasher = real(name)
            self.update(content)

        def update(self, content: bytes) -> None:
            self.hasher.update(content)
            if threading.get_ident() == mine:  # the registry hashes in threads of its own
                hashed.append(len(content))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.hasher, name)

    size = path.stat().st_size
    # The time at which the system noted the change cannot be set: the clock goes on instead.
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    monkeypatch.setattr(hashlib, "new", Counting)
    monkeypatch.setattr(hashlib, "sha256", partial(Counting, "sha256"))
    project.prepare("blob", "push", "acme/app", "in.bin")
    assert size <= sum(hashed) < 2 * size


def test_a_wrong_blob_is_not_kept(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "app", create=True)
    layer = push(layout, "root", "1.0", layers=[b"right bytes"]).manifest().layers[1]
    path = project.directory / "app/blobs/sha256" / layer.digest.encoded
    path.write_bytes(b"wrong bytes")
    refused(project.json("blob", "fetch", f"layout:app@{layer.digest}", "-o", "out"), 65, "digest-mismatch")
    assert not (project.directory / "out").exists()
    (project.directory / "file").write_bytes(b"other")
    refused(project.json("blob", "push", f"layout:app@{layer.digest}", "file"), 65, "digest-mismatch")


# --- manifest


def test_an_input_file_that_is_not_there_is_66_for_everyone(project: InProcess) -> None:
    for arguments in (
        ("blob", "push", "acme/app", "none"),
        ("manifest", "push", "acme/app:1", "none"),
        ("bundle", "copy", "--lock", "none", "--to-repo", "acme/app"),
        ("bundle", "pull", "--lock", "none", "-o", "out"),
        ("bundle", "copy", "--tar", "none.tar", "--to-repo", "acme/app"),
        ("push", "acme/app:1", "none"),
        ("relocate", "plan", "-f", "none", "--to", "acme"),
        ("relocate", "apply", "none"),
    ):
        error = project.json(*arguments).error
        assert (error["exit"], "none" in f"{error['message']} {error['where']}") == (66, True), (arguments, error)


def test_a_manifest_is_fetched_and_pushed_byte_for_byte(project: InProcess, place: str) -> None:
    digest = pushed(project, place, "1")
    project.prepare("manifest", "fetch", f"{place}:1", "-o", "manifest.json")
    raw = (project.directory / "manifest.json").read_bytes()
    assert digest_of(raw) == digest
    assert project.outside("manifest", "fetch", f"{place}:1").stdout.encode() == raw
    found = document(project, "manifest", "fetch", f"{place}:1")
    assert (found["digest"], found["content"]) == (digest, json.loads(raw))
    odd = b" " + raw + b"\n"
    result = provender_forked(
        "manifest", "push", f"{place}:odd", "-", cwd=project.directory, env=project.env, stdin=odd.decode()
    )
    assert result.status == 0, result.stderr
    assert result.stdout == f"{place}@{digest_of(odd)}\n"
    assert project.outside("manifest", "fetch", f"{place}:odd").stdout.encode() == odd
    config = project.outside("manifest", "fetch-config", f"{place}:1")
    assert config.stdout == "{}"


def test_a_manifest_has_to_say_what_it_is(project: InProcess) -> None:
    pushed(project, "layout:./app", "1")
    view = json.loads(project.outside("manifest", "fetch", "layout:./app:1").stdout)
    media_type = view.pop("mediaType")
    (project.directory / "untyped.json").write_text(json.dumps(view))
    refused(project.json("manifest", "push", "layout:./app:2", "untyped.json"), 2, "no-media-type")
    project.prepare("manifest", "push", "layout:./app:2", "untyped.json", "--media-type", media_type)
    wrong = project.json("manifest", "push", f"layout:./app@{digest_of(b'')}", "untyped.json")
    assert "registry" not in refused(wrong, 65, "digest-mismatch")["hint"]
    (project.directory / "text.json").write_text("hello")
    error = refused(project.json("manifest", "push", "layout:./app:2", "text.json"), 65, "invalid-json")
    assert (error["where"], "nothing was pushed" in error["hint"]) == ("text.json", True)


# --- tags and deletion


def test_tags_are_removed_and_content_stays(project: InProcess, place: str) -> None:
    digest = pushed(project, place, "1", "2", "3")
    assert project.succeed("untag", f"{place}:1", "2").stdout == f"{place}:1\n{place}:2\n"
    assert project.succeed("tags", place).stdout == "3\n"
    assert project.succeed("resolve", f"{place}@{digest}").stdout == f"{digest}\n"
    assert project.json("untag", f"{place}:1").status == 66
    assert project.json("untag", place).error["code"] == "usage"


def test_a_registry_that_deletes_by_digest_alone_says_so(project: InProcess) -> None:
    pushed(project, "acme/app", "1")
    project.registry.content.tag_deletes = False
    refused(project.json("untag", "acme/app:1"), 69, "delete-unsupported")
    assert "1" in project.registry.tags("acme/app")


def test_an_artifact_is_deleted_with_all_its_tags_when_agreed(project: InProcess, place: str) -> None:
    digest = pushed(project, place, "1", "2")
    asked = project.json("delete", f"{place}:1")
    assert (asked.status, asked.error["code"]) == (2, "usage")
    assert project.succeed("delete", f"{place}:1", "--force").stdout == f"{place}@{digest}\n"
    assert project.run("tags", place).stdout == ""
    assert project.json("delete", f"{place}@{digest}", "--force").status == 66


# --- index


def test_an_index_is_created_and_updated(project: InProcess, place: str) -> None:
    one, two = pushed(project, place, "one"), ""
    (project.directory / "b.txt").write_text("beta\n")
    two = str(document(project, "push", f"{place}:two", "b.txt")["digest"])
    created = document(project, "index", "create", f"{place}:all", "one", two, "--tag", "latest", "-a", "k=v")
    assert [child["digest"] for child in created["manifests"]] == [one, two]
    assert created["tags"] == ["all", "latest"]
    updated = document(project, "index", "update", f"{place}:all", "--remove", one)
    assert [child["digest"] for child in updated["manifests"]] == [two]
    view = json.loads(project.outside("manifest", "fetch", f"{place}:all").stdout)
    assert view["annotations"] == {"k": "v"}  # what was not asked for stays
    merged = document(project, "index", "update", f"{place}:all", "--merge", "latest")
    assert [child["digest"] for child in merged["manifests"]] == [two, one]
    for arguments in ((f"{place}:one", "--add", one), (f"{place}:all", "--merge", one)):
        assert "index create" in refused(project.json("index", "update", *arguments), 65, "not-an-index")["hint"]
    absent = project.json("index", "update", f"{place}:all", "--remove", digest_of(b"?"))
    refused(absent, 66, "no-such-child")


@pytest.mark.parametrize(
    ("children", "digest"),
    [
        (["linux/amd64", "linux/arm64"], "sha256:cce9590b1193d8bcb70467e2381dc81e77869be4801c09abe9bc274b6a1d2001"),
        (["linux/arm64", "linux/amd64"], "sha256:5c98cfc90e390c575679370a5dc5e37b52e854bbb7b9cb80cc1f30b56b8d183e"),
    ],
)
def test_an_index_has_the_bytes_that_oras_gives_it(
    project: InProcess, vectors: Path, children: list[str], digest: str
) -> None:
    source = LayoutStorage(vectors / "oras-layouts" / "images")
    by_platform = {str(child.platform): child.digest for child in source.resolve("multi").index().manifests}
    project.prepare("copy", f"layout:{vectors}/oras-layouts/images:multi", "layout:images")
    created = document(project, "index", "create", "layout:images:new", *(by_platform[name] for name in children))
    assert created["digest"] == digest


# --- show


def test_show_says_what_an_artifact_is_made_of(project: InProcess) -> None:
    digest = publish(project.registry, "acme/app", "1", {"a.txt": b"alpha"}, annotations={"com.example.k": "v"})
    said = project.succeed("show", "acme/app:1").stdout
    for expected in (digest, "application/vnd.test.thing", "com.example.k", "a.txt", digest_of(b"alpha")):
        assert expected in said
    found = document(project, "show", "acme/app:1")
    assert (found["digest"], found["contentSize"]) == (digest, 7)
    members = family(LayoutStorage(project.directory / "app", create=True)).digests
    index = project.succeed("show", "layout:app:1.0").stdout
    assert "linux/amd64" in index
    assert "attestation-manifest" in index
    assert document(project, "show", "layout:app:1.0", "--platform", "linux/arm64")["digest"] == members["arm64"]


def test_what_is_shown_cannot_drive_the_terminal(project: InProcess) -> None:
    publish(project.registry, "acme/app", "1", {"a\x1b[2Jb": b"x"}, annotations={"k\x1b]0;x\x07": "v\x1b[31m"})
    assert "\x1b" not in project.succeed("show", "acme/app:1").stdout


def test_a_child_of_another_digest_is_no_platform(project: InProcess) -> None:
    layout = LayoutStorage(project.directory / "app", create=True)
    family(layout)
    refused(project.json("show", "layout:app:1.0", "--platform", "linux/s390x"), 66, "no-matching-platform")
    assert isinstance(layout.resolve("1.0"), Document)
