"""Pulling into a directory that has files already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provender.artifact.pack import Source
from provender.artifact.publish import publish
from provender.artifact.pull import Pulled, pull
from provender.errors import Conflict, IntegrityError, InvalidDocument, NotFound
from provender.oci import Descriptor, Document, Index, Manifest, Platform
from provender.oci.annotations import TITLE
from provender.oci.media_types import INDEX, LAYER_TAR, MANIFEST
from provender.storage.memory import MemoryStorage
from provender.storage.verify import BytesReader


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryStorage:
    work = tmp_path / "work"
    (work / "d/sub/empty").mkdir(parents=True)
    (work / "d/sub/x").write_bytes(b"x")
    (work / "d/link").symlink_to("sub/x")
    (work / "run").write_bytes(b"run")
    monkeypatch.chdir(work)
    storage = MemoryStorage()
    publish(storage, [Source.parse("d"), Source.parse("run")], tags=("1.0",))
    return storage


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "a/out"


def pulled(storage: MemoryStorage, out: Path, *, target: str = "1.0", force: bool = False) -> Pulled:
    return pull(storage, target, str(out), force=force)


def names(out: Path) -> list[str]:
    return sorted(os.listdir(out))


def test_a_pull_gives_back_what_was_pushed(storage: MemoryStorage, out: Path) -> None:
    result = pulled(storage, out)
    assert result.changed == ("d/link", "d/sub/x", "run")
    assert (out / "d/sub/x").read_bytes() == b"x"
    assert os.readlink(out / "d/link") == "sub/x"
    assert (out / "d/sub/empty").is_dir()
    assert names(out) == ["d", "run"]
    assert result.resolved == result.manifest == storage.resolve("1.0")


def test_a_second_pull_changes_nothing(storage: MemoryStorage, out: Path) -> None:
    pulled(storage, out)
    inode = (out / "run").stat().st_ino
    assert pulled(storage, out).changed == ()
    assert (out / "run").stat().st_ino == inode


def test_other_files_stay(storage: MemoryStorage, out: Path) -> None:
    (out / "d").mkdir(parents=True)
    (out / "d/mine").write_bytes(b"mine")
    pulled(storage, out)
    assert (out / "d/mine").read_bytes() == b"mine"
    assert names(out / "d") == ["link", "mine", "sub"]


@pytest.mark.parametrize("existing", ["other content", "link", "mode"])
def test_a_file_that_differs_is_a_conflict_unless_forced(storage: MemoryStorage, out: Path, existing: str) -> None:
    out.mkdir(parents=True)
    if existing == "link":
        (out / "elsewhere").write_bytes(b"run")
        (out / "run").symlink_to("elsewhere")
    else:
        (out / "run").write_bytes(b"run" if existing == "mode" else b"ran")
        (out / "run").chmod(0o755 if existing == "mode" else 0o644)
    before = names(out)
    with pytest.raises(Conflict) as caught:
        pulled(storage, out)
    assert caught.value.code == "files-differ"
    assert "run" in caught.value.message
    assert names(out) == before
    assert pulled(storage, out, force=True).changed == ("d/link", "d/sub/x", "run")
    assert not (out / "run").is_symlink()
    assert (out / "run").read_bytes() == b"run"
    if existing == "link":
        assert (out / "elsewhere").read_bytes() == b"run"


@pytest.mark.parametrize("force", [False, True])
def test_a_link_in_the_destination_leads_nothing_out_of_it(
    storage: MemoryStorage, out: Path, tmp_path: Path, force: bool
) -> None:
    out.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (out / "d").symlink_to(tmp_path / "outside")
    with pytest.raises(Conflict) as caught:
        pulled(storage, out, force=force)
    assert caught.value.code == "through-link"
    assert names(tmp_path / "outside") == []
    assert names(out) == ["d"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["directory for a file", "file for a directory"])
def test_files_and_directories_never_replace_each_other(
    storage: MemoryStorage, out: Path, kind: str, force: bool
) -> None:
    out.mkdir(parents=True)
    if kind == "directory for a file":
        (out / "run").mkdir()
    else:
        (out / "d").write_bytes(b"")
    before = names(out)
    with pytest.raises(Conflict) as caught:
        pulled(storage, out, force=force)
    assert caught.value.code == "kind-clash"
    assert names(out) == before


def test_the_destination_itself_may_be_a_link(storage: MemoryStorage, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    pulled(storage, tmp_path / "out")
    assert names(tmp_path / "real") == ["d", "run"]


def test_a_destination_that_is_a_file_is_a_conflict(storage: MemoryStorage, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(Conflict) as caught:
        pulled(storage, tmp_path / "out/below")
    assert caught.value.code == "not-a-directory"


def test_a_failure_leaves_no_trace(storage: MemoryStorage, out: Path) -> None:
    missing = Descriptor.of(b"gone", LAYER_TAR, annotations={TITLE: "gone"})
    there = Descriptor.of(b"there", LAYER_TAR, annotations={TITLE: "there"})
    hostile = Descriptor.of(b"there", LAYER_TAR, annotations={TITLE: "../there"})
    storage.push(there, BytesReader(b"there"))
    for layers in ((there, missing), (hostile,)):
        manifest = Document.author(Manifest(schema_version=2, media_type=MANIFEST, layers=layers))
        storage.push_document(manifest)
        with pytest.raises((NotFound, IntegrityError)):
            pulled(storage, out, target=manifest.digest)
        assert not out.parent.exists()


def child(storage: MemoryStorage, title: str, platform: Platform | None) -> Descriptor:
    blob = Descriptor.of(title.encode(), LAYER_TAR, annotations={TITLE: title})
    storage.push(blob, BytesReader(title.encode()))
    manifest = Document.author(Manifest(schema_version=2, media_type=MANIFEST, layers=(blob,)))
    storage.push_document(manifest)
    return Descriptor(media_type=MANIFEST, digest=manifest.digest, size=manifest.descriptor.size, platform=platform)


def test_an_index_is_followed_to_the_platform_through_nested_indexes(storage: MemoryStorage, out: Path) -> None:
    arm = Platform(os="linux", architecture="arm64")
    children = (child(storage, "amd", Platform(os="linux", architecture="amd64")), child(storage, "arm", arm))
    document = Document.author(Index(schema_version=2, media_type=INDEX, manifests=children))
    for _ in range(2):
        storage.push_document(document, ("multi",))
        result = pull(storage, "multi", str(out), platform=arm)
        assert names(out) == ["arm"]
        assert result.resolved.digest == document.digest
        assert result.manifest.digest == children[1].digest
        document = Document.author(Index(schema_version=2, media_type=INDEX, manifests=(document.descriptor,)))


def test_a_maze_of_indexes_is_given_up(storage: MemoryStorage, out: Path) -> None:
    descriptor = child(storage, "x", None)
    for _ in range(9):
        document = Document.author(Index(schema_version=2, media_type=INDEX, manifests=(descriptor,)))
        storage.push_document(document, ("maze",))
        descriptor = document.descriptor
    with pytest.raises(InvalidDocument):
        pulled(storage, out, target="maze")
