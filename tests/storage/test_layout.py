from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from provender.errors import Conflict, IntegrityError, InvalidDocument, NotFound, Unavailable, Unsupported
from provender.oci.annotations import REF_NAME
from provender.storage import layout as layout_module
from provender.storage.files import FileLock, temporary_name
from provender.storage.layout import LayoutStorage
from provender.storage.layout_index import LayoutIndex
from provender.storage.verify import BytesReader, read_all
from support.content import blob, manifest


@pytest.fixture
def layout(tmp_path: Path) -> LayoutStorage:
    return LayoutStorage(tmp_path / "layout", create=True)


def listed(layout: LayoutStorage) -> list[tuple[str | None, str]]:
    entries = json.loads((layout.path / "index.json").read_bytes())["manifests"]
    return [((entry.get("annotations") or {}).get(REF_NAME), entry["digest"]) for entry in entries]


def place(layout: LayoutStorage, content: bytes) -> Path:
    return layout.path / "blobs" / "sha256" / blob(content).digest.encoded


def test_new_layout_has_what_the_specification_asks_for(layout: LayoutStorage) -> None:
    assert json.loads((layout.path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((layout.path / "index.json").read_bytes())["manifests"] == []
    assert (layout.path / "blobs").is_dir()


def test_creating_again_keeps_everything(layout: LayoutStorage) -> None:
    layout.push_document(manifest("a"), ["v1"])
    assert LayoutStorage(layout.path, create=True).resolve("v1") == manifest("a")


def test_creation_that_was_cut_short_is_finished(layout: LayoutStorage) -> None:
    layout.push_document(manifest("a"), ["v1"])
    (layout.path / "oci-layout").unlink()
    assert LayoutStorage(layout.path, create=True).resolve("v1") == manifest("a")


def test_directory_with_other_files_is_not_turned_into_a_layout(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(Conflict) as caught:
        LayoutStorage(tmp_path, create=True)
    assert "README.md" in caught.value.message
    assert os.listdir(tmp_path) == ["README.md"]


def test_missing_directory_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        LayoutStorage(tmp_path / "nowhere")
    assert caught.value.hint
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("missing", ["oci-layout", "index.json"])
def test_directory_without_its_files_is_not_a_layout(layout: LayoutStorage, missing: str) -> None:
    (layout.path / missing).unlink()
    with pytest.raises(InvalidDocument) as caught:
        LayoutStorage(layout.path)
    assert caught.value.code == "not-a-layout"
    assert missing in caught.value.message
    assert caught.value.hint


def test_file_is_not_a_layout(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidDocument) as caught:
        LayoutStorage(tmp_path / "file")
    assert caught.value.code == "not-a-layout"


def test_other_layout_version_is_unsupported(layout: LayoutStorage) -> None:
    (layout.path / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')
    with pytest.raises(Unsupported) as caught:
        LayoutStorage(layout.path)
    assert caught.value.where == f"layout:{layout.path}"


def test_layout_file_keeps_the_fields_of_others(layout: LayoutStorage) -> None:
    text = '{"imageLayoutVersion": "1.0.0", "x-more": 1}'
    (layout.path / "oci-layout").write_text(text)
    LayoutStorage(layout.path, create=True).push_document(manifest("a"), ["v1"])
    assert (layout.path / "oci-layout").read_text() == text


def test_pushed_documents_are_listed_and_moved_tags_leave_them_unnamed(layout: LayoutStorage) -> None:
    layout.push_document(manifest("a"), ["v1"])
    layout.push_document(manifest("b"))
    layout.push_document(manifest("c"), ["v1"])
    digests = [manifest(name).digest for name in "abc"]
    assert listed(layout) == [(None, digests[0]), (None, digests[1]), ("v1", digests[2])]


def test_symlinked_blob_is_refused(layout: LayoutStorage, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    place(layout, b"secret").symlink_to(tmp_path / "outside")
    for act in (lambda: layout.fetch(blob(b"secret")), lambda: layout.exists(blob(b"secret"))):
        with pytest.raises(IntegrityError) as caught:
            act()
        assert caught.value.code == "not-a-regular-file"


@pytest.mark.parametrize("component", ["blobs", "blobs/sha256"])
def test_symlinked_component_is_refused_for_reading_and_writing(
    layout: LayoutStorage, tmp_path: Path, component: str
) -> None:
    layout.push(blob(b"x"), BytesReader(b"x"))
    (layout.path / component).rename(tmp_path / "moved")
    (layout.path / component).symlink_to(tmp_path / "moved")
    with pytest.raises(IntegrityError):
        layout.fetch(blob(b"x"))
    with pytest.raises(IntegrityError):
        layout.push(blob(b"y"), BytesReader(b"y"))
    with pytest.raises(IntegrityError):
        layout.delete(blob(b"x"))
    assert [path.name for path in (tmp_path / "moved").rglob("*") if path.is_file()] == [blob(b"x").digest.encoded]


def test_symlinked_index_is_refused(layout: LayoutStorage, tmp_path: Path) -> None:
    (layout.path / "index.json").rename(tmp_path / "index.json")
    (layout.path / "index.json").symlink_to(tmp_path / "index.json")
    with pytest.raises(IntegrityError):
        layout.resolve("v1")


def test_damaged_blob_is_met_at_its_end(layout: LayoutStorage) -> None:
    layout.push(blob(b"right"), BytesReader(b"right"))
    place(layout, b"right").write_bytes(b"wrong")
    with layout.fetch(blob(b"right")) as reader, pytest.raises(IntegrityError):
        read_all(reader, 100)


def test_cut_blob_counts_as_absent_and_a_push_heals_it(layout: LayoutStorage) -> None:
    place(layout, b"right").write_bytes(b"rig")
    assert not layout.exists(blob(b"right"))
    layout.push(blob(b"right"), BytesReader(b"right"))
    assert place(layout, b"right").read_bytes() == b"right"


def test_damaged_document_is_an_integrity_error_and_a_push_heals_it(layout: LayoutStorage) -> None:
    document = manifest("a")
    layout.push_document(document, ["v1"])
    place(layout, document.raw).write_bytes(document.raw.replace(b"test.name", b"test.eman"))
    with pytest.raises(IntegrityError) as caught:
        layout.resolve("v1")
    assert caught.value.where == f"layout:{layout.path}@{document.digest}"
    layout.push_document(document)
    assert layout.resolve("v1") == document


def test_entry_with_a_wrong_size_is_an_integrity_error(layout: LayoutStorage) -> None:
    document = manifest("a")
    layout.push_document(document, ["v1"])
    fields = json.loads((layout.path / "index.json").read_bytes())
    fields["manifests"][0]["size"] += 1
    (layout.path / "index.json").write_text(json.dumps(fields))
    with pytest.raises(IntegrityError):
        layout.resolve("v1")


def test_listed_document_whose_file_is_missing_says_so(layout: LayoutStorage) -> None:
    document = manifest("a")
    layout.push_document(document, ["v1"])
    place(layout, document.raw).unlink()
    with pytest.raises(NotFound) as caught:
        layout.resolve("v1")
    assert "missing" in caught.value.message
    layout.delete(document.descriptor)
    assert listed(layout) == []


def test_entries_of_other_kinds_and_unusable_documents_are_no_referrers(layout: LayoutStorage) -> None:
    subject = manifest("subject")
    broken = b'{"schemaVersion":1}'
    place(layout, broken).write_bytes(broken)
    entries = [
        {"mediaType": "application/xml", "digest": blob(b"absent").digest, "size": 6},
        {"mediaType": subject.descriptor.media_type, "digest": blob(broken).digest, "size": len(broken)},
        {"mediaType": subject.descriptor.media_type, "digest": blob(b"absent").digest, "size": 6},
    ]
    (layout.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    layout.push_document(manifest("referrer", subject=subject.descriptor))
    assert [found.digest for found in layout.referrers(subject.digest)] == [
        manifest("referrer", subject=subject.descriptor).digest
    ]


def test_damaged_candidate_is_an_error_not_an_absence(layout: LayoutStorage) -> None:
    document = manifest("a")
    layout.push_document(document)
    place(layout, document.raw).write_bytes(b"x" * len(document.raw))
    with pytest.raises(IntegrityError):
        layout.referrers(manifest("subject").digest)


def test_broken_index_names_its_file(layout: LayoutStorage) -> None:
    (layout.path / "index.json").write_text("{")
    with pytest.raises(InvalidDocument) as caught:
        layout.tags()
    assert caught.value.where == str(layout.path / "index.json")


def test_too_large_index_is_neither_read_nor_written(layout: LayoutStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_module, "MAX_INDEX_BYTES", 400)
    layout.push_document(manifest("a"), ["v1"])
    before = (layout.path / "index.json").read_bytes()
    with pytest.raises(Unsupported) as caught:
        layout.push_document(manifest("b"), ["v2"])
    assert caught.value.code == "index-too-large"
    assert (layout.path / "index.json").read_bytes() == before
    (layout.path / "index.json").write_bytes(before + b" " * 400)
    with pytest.raises(IntegrityError):
        layout.resolve("v1")


def test_unchanged_index_is_not_read_again(layout: LayoutStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.push_document(manifest("a"), ["v1"])
    old = time.time() - 60
    os.utime(layout.path / "index.json", (old, old))
    reader = LayoutStorage(layout.path)
    assert reader.resolve("v1") == manifest("a")
    opened: list[tuple[str, ...]] = []
    original = layout_module.open_regular

    def count(root: Path, *parts: str) -> object:
        opened.append(parts)
        return original(root, *parts)

    monkeypatch.setattr(layout_module, "open_regular", count)
    assert reader.resolve("v1") == manifest("a")
    assert ("index.json",) not in opened
    layout.push_document(manifest("b"), ["v1"])
    assert reader.resolve("v1") == manifest("b")
    assert ("index.json",) in opened


def test_fresh_index_is_read_again_but_not_parsed_again(layout: LayoutStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.push_document(manifest("a"), ["v1"])

    def refuse(raw: bytes) -> LayoutIndex:
        raise AssertionError("parsed again")

    monkeypatch.setattr(layout_module.LayoutIndex, "parse", refuse)
    assert layout.resolve("v1") == manifest("a")


def test_change_in_place_within_one_clock_tick_is_seen(layout: LayoutStorage) -> None:
    layout.push_document(manifest("a"), ["v1"])
    reader = LayoutStorage(layout.path)
    assert list(reader.tags()) == ["v1"]
    path = layout.path / "index.json"
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"v1"', b'"v2"'))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert list(reader.tags()) == ["v2"]


def test_push_that_changes_nothing_leaves_the_index_alone(layout: LayoutStorage) -> None:
    layout.push_document(manifest("a"), ["v1"])
    before = (layout.path / "index.json").stat()
    layout.push_document(manifest("a"), ["v1"])
    layout.tag(manifest("a").descriptor, "v1")
    after = (layout.path / "index.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_locked_layout_can_be_read_and_a_writer_gives_up_with_a_name(layout: LayoutStorage) -> None:
    layout.push_document(manifest("a"), ["v1"])
    waits: list[str] = []
    second = LayoutStorage(layout.path, lock_timeout_s=0.05, on_wait=lambda: waits.append("wait"))
    with FileLock(layout.path / ".index.json.lock", timeout_s=0, what="it"):
        assert second.resolve("v1") == manifest("a")
        with pytest.raises(Unavailable) as caught:
            second.push_document(manifest("b"), ["v2"])
    assert str(layout.path) in caught.value.message
    assert waits == ["wait"]
    second.push_document(manifest("b"), ["v2"])
    assert list(layout.tags()) == ["v1", "v2"]


def test_failed_write_of_the_index_leaves_the_old_one(layout: LayoutStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.push_document(manifest("a"), ["v1"])

    def refuse(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    layout.push_document(manifest("b"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="No space"):
            layout.tag(manifest("b").descriptor, "v1")
    assert layout.resolve("v1") == manifest("a")
    layout.tag(manifest("b").descriptor, "v1")
    assert layout.resolve("v1") == manifest("b")


def test_leftovers_of_killed_processes_are_removed_after_a_day(layout: LayoutStorage) -> None:
    directory = layout.path / "blobs" / "sha256"
    old, young = (directory / temporary_name(name) for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    layout.push(blob(b"x"), BytesReader(b"x"))
    assert not old.exists()
    assert young.exists()


def test_relative_path_of_a_moved_layout_still_works(layout: LayoutStorage, tmp_path: Path) -> None:
    layout.push_document(manifest("a"), ["v1"])
    shutil.move(layout.path, tmp_path / "moved")
    assert LayoutStorage(tmp_path / "moved").resolve("v1") == manifest("a")


def test_what_a_thread_is_long_in_making_durable_goes_when_nobody_waits_for_it(
    layout: LayoutStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow(_fd: int) -> None:
        begun.set()
        ended.wait(60)

    failures: list[BaseException] = []

    def push() -> None:
        try:
            layout.push(blob(b"content"), BytesReader(b"content"))
        except OSError as error:
            failures.append(error)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", slow)
        thread = threading.Thread(target=push)
        thread.start()
        assert begun.wait(60)
        layout.withdraw()
        left = list(layout.path.rglob("*.tmp"))
        ended.set()
        thread.join(60)
    assert left == []
    assert [type(error) for error in failures] == [FileNotFoundError]
    assert not place(layout, b"content").exists()
