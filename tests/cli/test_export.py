"""`export` and `import` as a user runs them."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.registry import Status
from support.workspace import Workspace, refused


@pytest.fixture
def archive(synced: Workspace) -> Path:
    """The export of the synced project, beside it."""
    path = synced.directory.parent / "project.tar"
    synced.prepare("export", "-o", path)
    return path


def leave_alone(project: Workspace) -> None:
    """A machine that has the committed files and nothing else, and reaches nobody."""
    shutil.rmtree(project.directory / "vendor")
    shutil.rmtree(project.directory / ".provender")
    shutil.rmtree(project.cache)
    project.env["PROVENDER_REGISTRY_ACME"] = "127.0.0.1:1/acme"


def test_what_was_exported_syncs_offline(synced: Workspace, archive: Path) -> None:
    before = synced.look()
    leave_alone(synced)
    refused(synced.answer("sync", "--offline", "--format", "json"), 69, "offline")
    told = synced.answer("import", archive, "--format", "json").json
    assert (told["documents"], told["blobs"], told["absent"]) == (1, 3, 0)
    synced.prepare("sync", "--offline", "--locked")
    assert synced.look() == before
    synced.check_cache()


def test_the_report_tells_the_digest_of_the_archive(synced: Workspace, archive: Path) -> None:
    told = synced.answer("export", "-o", "other.tar", "--format", "json").json
    raw = (synced.directory / "other.tar").read_bytes()
    assert told["digest"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    assert (told["sizeBytes"], told["dependencies"], told["blobs"]) == (len(raw), ["good"], 3)
    assert raw == archive.read_bytes()
    result = synced.answer("export", "-o", "other.tar")
    assert result.stdout == f"other.tar  {told['digest']}  {len(raw) / 1024:.1f} KiB\n"
    assert "provender import other.tar" in result.stderr


def test_an_export_streams_to_a_pipe_and_not_to_a_terminal(synced: Workspace, archive: Path) -> None:
    command = [sys.executable, "-m", "provender", "export", "-o", "-"]
    environment = {**os.environ, **synced.env}
    piped = subprocess.run(
        command, cwd=synced.directory, env=environment, capture_output=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert (piped.returncode, piped.stdout) == (0, archive.read_bytes())
    assert b"3 blobs for 1 dependency" in piped.stderr
    leader, follower = pty.openpty()
    try:
        shown = subprocess.run(
            command,
            cwd=synced.directory,
            env=environment,
            stdout=follower,
            stderr=subprocess.PIPE,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    finally:
        os.close(leader)
        os.close(follower)
    assert shown.returncode == 2
    assert b"nothing for a terminal" in shown.stderr


def test_a_compressed_archive_is_smaller_and_imported_all_the_same(synced: Workspace, archive: Path) -> None:
    small = archive.with_name("project.tar.zst")
    synced.prepare("export", "-o", small, "--compression", "zstd")
    assert small.stat().st_size < archive.stat().st_size / 3
    before = synced.look()
    leave_alone(synced)
    synced.prepare("import", small)
    synced.prepare("sync", "--offline")
    assert synced.look() == before
    assert [path.name for path in synced.cache.iterdir() if path.name.startswith(".import")] == []


def test_an_import_into_a_store_says_how_to_use_it(synced: Workspace, archive: Path) -> None:
    before, store = synced.look(), synced.directory.parent / "store"
    leave_alone(synced)
    result = synced.answer("import", archive, "--store", store)
    assert result.stdout == "acme/good\n"
    binding = f"--registry acme=layout:{store}/acme"
    assert f"provender sync {binding}" in result.stderr
    synced.prepare("sync", "--locked", *binding.split())
    assert synced.look() == before


def test_an_export_that_fails_leaves_no_archive(synced: Workspace) -> None:
    shutil.rmtree(synced.cache)
    synced.env["PROVENDER_REGISTRY_ACME"] = "127.0.0.1:1/acme"
    (synced.directory / "x.tar").write_text("mine")
    result = synced.answer("export", "-o", "x.tar", "--format", "json")
    assert result.status == 75
    assert (synced.directory / "x.tar").read_text() == "mine"
    synced.check_no_leftovers()


def test_a_project_elsewhere_is_exported_for_its_lock(synced: Workspace, archive: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    lock = synced.directory / "provender.lock"
    synced.directory, inside = away, synced.directory
    synced.prepare("export", "--for", lock, "-o", "x.tar")
    assert (away / "x.tar").read_bytes() == archive.read_bytes()
    assert not (inside / "x.tar").exists()


def test_a_damaged_archive_is_refused(synced: Workspace, archive: Path) -> None:
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"alpha\n")] ^= 1
    archive.write_bytes(raw)
    refused(synced.answer("import", archive, "--format", "json"), 65, "digest-mismatch")
    archive.write_bytes(raw[: len(raw) // 2])
    refused(synced.answer("import", archive, "--format", "json"), 65, "archive-truncated")


def test_what_belongs_to_an_artifact_travels_to_a_store(synced: Workspace, tmp_path: Path) -> None:
    digest = synced.lock["good"]["digest"]
    (synced.directory / "sbom.json").write_text("{}")
    (synced.directory / "signed").write_text("signed")
    sbom = synced.answer(
        "attach", "acme/good:1.0.0", "sbom.json:application/spdx+json", "--artifact-type", "application/spdx+json",
        "--format", "json",
    ).json["digest"]  # fmt: skip
    synced.prepare("attach", f"acme/good@{sbom}", "signed", "--artifact-type", "application/vnd.cncf.notary.signature")
    synced.prepare("push", f"acme/good:{digest.replace(':', '-')}.sig", "signed")
    before = synced.answer("discover", "acme/good:1.0.0", "--format", "json").json
    assert len(_told(before)) == 3
    archive, store = tmp_path / "all.tar", tmp_path / "store"
    synced.prepare("export", "-o", archive)
    leave_alone(synced)
    synced.prepare("import", archive, "--store", store)
    there = ("--registry", f"acme=layout:{store}/acme")
    assert _told(synced.answer("discover", "acme/good:1.0.0", "--format", "json", *there).json) == _told(before)
    synced.prepare("sync", "--locked", *there)


def _told(discovered: dict[str, Any]) -> set[str]:
    """The digests of everything below."""
    return {digest for each in discovered["referrers"] for digest in (each["digest"], *_told(each))}


@pytest.mark.parametrize(
    ("options", "documents"), [((), 2), (("--related", "none"), 1), (("--related", "signature"), 1)]
)
def test_related_content_is_chosen_as_by_copy(synced: Workspace, options: tuple[str, ...], documents: int) -> None:
    (synced.directory / "sbom.json").write_text("{}")
    synced.prepare("attach", "acme/good:1.0.0", "sbom.json", "--artifact-type", "application/spdx+json")
    told = synced.answer("export", "-o", "x.tar", "--format", "json", *options).json
    assert told["documents"] == documents
    synced.registry.requests.clear()
    synced.prepare("export", "-o", "y.tar", "--offline")
    assert synced.registry.count() == 0


def test_related_content_that_cannot_be_asked_for_is_no_none(synced: Workspace) -> None:
    synced.registry.fault(("GET", "/referrers/"), action=Status(403), times=99)
    assert synced.answer("export", "-o", "x.tar").status == 77
    assert not (synced.directory / "x.tar").exists()
    synced.prepare("export", "-o", "x.tar", "--related", "none")
