"""Export and import: everything that a lock needs in one archive, and a sync from it where there is nothing else."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from pathlib import Path

import msgspec
import pytest

from provender.errors import Conflict, IntegrityError, InvalidDocument, InvalidProject
from provender.oci import Descriptor, Document, Index
from provender.oci.annotations import EXPORT_ORIGIN, REF_NAME
from provender.oci.media_types import INDEX
from provender.project.carried_tree import TREE_TYPE
from provender.project.export import Exported, export
from provender.project.importing import import_to_cache, import_to_store
from provender.project.lock import Lock
from provender.project.manifest import Manifest
from provender.storage.archive import ArchiveStorage
from provender.storage.archive_writer import Part, write_archive
from provender.storage.cache import BlobCache
from provender.storage.roots import StoreRoot
from provender.storage.verify import BytesReader
from support.content import blob, manifest
from support.local_project import LocalProject
from support.workspace import everything


@pytest.fixture
def project(tmp_path: Path) -> LocalProject:
    """An artifact by a range, one by a digest with a selection, and a directory."""
    made = LocalProject(tmp_path)
    made.publish("x", "1.0.0", {"a.txt": "a", "docs/b.txt": "b"})
    pinned = made.publish("y", "1", {"y.txt": "y"})
    shared = tmp_path / "shared"
    (shared / "sub").mkdir(parents=True)
    (shared / "sub/s.txt").write_text("s")
    (shared / "run.sh").write_text("#!/bin/sh\n")
    (shared / "run.sh").chmod(0o755)
    (shared / "link").symlink_to("sub/s.txt")
    made.depend(
        x={"oci": "acme/x", "version": "^1", "include": ["*.txt"]},
        y={"oci": "acme/y", "digest": str(pinned.digest)},
        shared={"directory": "../shared"},
        notes={"inline": {"N": "n"}},
    )
    made.sync()
    return made


def exported(project: LocalProject, path: Path, *, zstd: bool = False) -> Exported:
    manifest, lock = Manifest.load(project.path("provender.yaml")), Lock.load(project.path("provender.lock"))
    with path.open("wb") as file:
        return export(
            project.directory,
            manifest,
            lock or Lock(),
            project.sources(),
            file,
            compression="zstd" if zstd else "none",
        )


def lonely(project: LocalProject, tmp_path: Path) -> None:
    """Take away everything but manifest and lock."""
    shutil.rmtree(project.path("vendor"))
    shutil.rmtree(project.path(".provender"))
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    project.store.rename(tmp_path / "store-away")
    shutil.rmtree(tmp_path / "shared")


def test_a_machine_without_anything_else_syncs_from_the_archive(project: LocalProject, tmp_path: Path) -> None:
    before, path = project.look(), tmp_path / "all.tar"
    told = exported(project, path)
    assert told.dependencies == ("shared", "x", "y")
    assert told.left_out == ("notes",)
    assert told.size_bytes == path.stat().st_size
    lonely(project, tmp_path)
    done = import_to_cache(ArchiveStorage(path), project.cache)
    assert (done.documents, done.blobs, done.absent) == (told.documents, told.blobs, 0)
    project.sync(locked=True)
    assert project.look() == before


def test_the_same_lock_gives_the_same_bytes_whatever_was_cached(project: LocalProject, tmp_path: Path) -> None:
    exported(project, tmp_path / "one.tar")
    shutil.rmtree(tmp_path / "cache")
    exported(project, tmp_path / "two.tar")
    one, two = ((tmp_path / name).read_bytes() for name in ("one.tar", "two.tar"))
    assert one == two
    with tarfile.open(tmp_path / "one.tar") as archive:
        names = archive.getnames()
    assert names[:2] == ["oci-layout", "index.json"]


def test_the_archive_is_a_layout_that_names_artifacts_by_their_tag(project: LocalProject, tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    exported(project, path)
    archive = ArchiveStorage(path)
    assert str(archive.resolve("1.0.0").digest) == project.lock["x"]["digest"]
    noted = [(entry.annotations or {}).get(REF_NAME) for entry in archive.entries]
    assert noted == [None, "acme/x:1.0.0", None]
    assert archive.entries[0].artifact_type == TREE_TYPE


def test_an_import_into_a_store_can_be_synced_from(project: LocalProject, tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    exported(project, path)
    before = project.look()
    lonely(project, tmp_path)
    store = StoreRoot(tmp_path / "new")
    done = import_to_store(ArchiveStorage(path), store, project.cache)
    assert done.repositories == ("acme/x", "acme/y")
    assert list(store.repository("acme/x").tags()) == ["1.0.0"]
    # The alias acme is the directory of that name.
    (tmp_path / "new/acme").rename(project.store)
    project.sync(locked=True)
    assert project.look() == before


def test_a_lock_that_is_stale_is_not_exported(project: LocalProject, tmp_path: Path) -> None:
    project.depend(x={"oci": "acme/x", "version": "^2"})
    with pytest.raises(InvalidProject) as caught:
        exported(project, tmp_path / "all.tar")
    assert caught.value.code == "lock-stale"


def test_a_directory_that_changed_since_it_was_locked_is_not_exported(project: LocalProject, tmp_path: Path) -> None:
    (tmp_path / "shared/sub/s.txt").write_text("other")
    with pytest.raises(Conflict) as caught:
        exported(project, tmp_path / "all.tar")
    assert caught.value.code == "directory-changed"


def test_nothing_to_carry_is_said(project: LocalProject, tmp_path: Path) -> None:
    project.depend(notes={"inline": {"N": "n"}})
    project.sync()
    with pytest.raises(InvalidProject) as caught:
        exported(project, tmp_path / "all.tar")
    assert caught.value.code == "nothing-to-export"


def test_a_byte_that_was_changed_on_the_way_is_met(project: LocalProject, tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    exported(project, path)
    raw = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        members = [each for each in archive.getmembers() if each.name.startswith("blobs/") and each.size > 2]
    for member in members:
        raw[member.offset_data + member.size // 2] ^= 1
        path.write_bytes(raw)
        cache = BlobCache(tmp_path / f"cache-{member.name[-8:]}", max_bytes=1 << 20)
        with pytest.raises(IntegrityError):
            import_to_cache(ArchiveStorage(path), cache)
        assert _all_have_their_digest(cache)
        raw[member.offset_data + member.size // 2] ^= 1


def _all_have_their_digest(cache: BlobCache) -> bool:
    files = [each for each in (cache.root / "blobs").rglob("*") if each.is_file()]
    return all(hashlib.sha256(each.read_bytes()).hexdigest() == each.name for each in files)


def test_what_is_in_the_cache_already_is_verified_all_the_same(project: LocalProject, tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    exported(project, path)
    raw = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        member = next(each for each in archive.getmembers() if each.size > 1000 and "blobs" in each.name)
    raw[member.offset_data + 3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(IntegrityError):
        import_to_cache(ArchiveStorage(path), project.cache)


def test_a_cache_that_cannot_hold_it_is_told_before_anything_is_stored(project: LocalProject, tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    exported(project, path)
    small = BlobCache(tmp_path / "small", max_bytes=1000)
    with pytest.raises(InvalidProject) as caught:
        import_to_cache(ArchiveStorage(path), small)
    assert caught.value.code == "cache-too-small"
    assert not (tmp_path / "small").exists()


def archive_of(path: Path, entries: list[Descriptor], documents: list[Document]) -> ArchiveStorage:
    out = io.BytesIO()

    def part(document: Document) -> Part:
        return Part(document.descriptor, lambda: BytesReader(document.raw))

    write_archive(out, entries, [part(each) for each in documents])
    path.write_bytes(out.getvalue())
    return ArchiveStorage(path)


@pytest.mark.parametrize("origin", ["../../etc", "/etc", "acme/x:1", "acme", "layout:../x", "ACME/X Y"])
def test_an_archive_cannot_say_where_in_the_file_system_its_content_goes(tmp_path: Path, origin: str) -> None:
    document = manifest("a")
    entry = msgspec.structs.replace(document.descriptor, annotations={EXPORT_ORIGIN: origin})
    archive = archive_of(tmp_path / "a.tar", [entry], [document])
    cache = BlobCache(tmp_path / "cache", max_bytes=1 << 20)
    with pytest.raises(InvalidDocument) as caught:
        import_to_store(archive, StoreRoot(tmp_path / "store"), cache)
    assert caught.value.code == "bad-origin"
    assert everything(tmp_path, without=("cache",)).keys() == {"a.tar"}


def test_what_an_archive_names_and_lacks_is_counted(tmp_path: Path) -> None:
    document = manifest("a", layers=(blob(b"elsewhere"),))
    archive = archive_of(tmp_path / "a.tar", [document.descriptor], [document])
    done = import_to_cache(archive, BlobCache(tmp_path / "cache", max_bytes=1 << 20))
    assert (done.documents, done.blobs, done.absent) == (1, 0, 2)


def test_an_index_that_names_the_same_again_and_again_is_read_once(tmp_path: Path) -> None:
    documents = [manifest("leaf")]
    for level in range(6):
        child = documents[-1].descriptor
        fields = Index(schema_version=2, media_type=INDEX, manifests=(child,) * 500, annotations={"n": str(level)})
        documents.append(Document.author(fields))
    archive = archive_of(tmp_path / "a.tar", [documents[-1].descriptor], documents)
    done = import_to_cache(archive, BlobCache(tmp_path / "cache", max_bytes=1 << 20))
    assert (done.documents, done.absent) == (7, 1)


def test_documents_that_are_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    documents = [manifest("leaf")]
    for _ in range(12):
        fields = Index(schema_version=2, media_type=INDEX, manifests=(documents[-1].descriptor,))
        documents.append(Document.author(fields))
    archive = archive_of(tmp_path / "a.tar", [documents[-1].descriptor], documents)
    with pytest.raises(InvalidDocument) as caught:
        import_to_cache(archive, BlobCache(tmp_path / "cache", max_bytes=1 << 20))
    assert caught.value.code == "archive-too-deep"
    assert not (tmp_path / "cache").exists()


def test_many_files_are_carried_by_several_manifests(
    project: LocalProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provender.project.export._MAX_LAYERS", 2)
    path, before = tmp_path / "all.tar", project.look()
    exported(project, path)
    assert ArchiveStorage(path).resolve(str(ArchiveStorage(path).entries[0].digest)).is_index
    lonely(project, tmp_path)
    import_to_cache(ArchiveStorage(path), project.cache)
    project.sync(locked=True)
    assert project.look() == before
