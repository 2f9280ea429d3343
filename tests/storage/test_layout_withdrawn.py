"""A layout that was made for nothing is not left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provender.errors import Conflict, NotFound
from provender.locations import Locations
from provender.oci import Descriptor, Reference
from provender.storage.layout import LayoutStorage
from provender.storage.open import Storages
from provender.storage.verify import BytesReader
from support.graphs import push


def open_for_writing(directory: Path, name: str) -> Storages:
    storages = Storages(Locations.gather(environ={}, cwd=directory), environ={})
    storages.open(Reference.parse(f"layout:{directory}/{name}"), create=True)
    return storages


def test_a_layout_that_got_nothing_is_gone_with_the_directories_that_it_needed(tmp_path: Path) -> None:
    with open_for_writing(tmp_path, "deep/er/out"):
        assert (tmp_path / "deep/er/out/oci-layout").exists()
    assert os.listdir(tmp_path) == []


def test_a_directory_that_was_there_stays_and_is_empty_again(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    open_for_writing(tmp_path, "out").close()
    assert os.listdir(tmp_path / "out") == []


def test_a_layout_that_was_there_or_got_anything_stays(tmp_path: Path) -> None:
    LayoutStorage(tmp_path / "before", create=True)
    open_for_writing(tmp_path, "before").close()
    assert (tmp_path / "before/oci-layout").exists()
    for name in ("blob", "document"):
        storages = open_for_writing(tmp_path, name)
        storage = storages.open(Reference.parse(f"layout:{tmp_path}/{name}")).writable
        if name == "blob":
            storage.push(Descriptor.of(b"x", "application/x"), BytesReader(b"x"))
        else:
            push(storage, "it", "1.0")
        storages.close()
        assert LayoutStorage(tmp_path / name).find_blob(Descriptor.of(b"x", "a/b").digest) if name == "blob" else True
        assert (tmp_path / name / "index.json").exists()


def test_what_somebody_else_put_there_meanwhile_stays(tmp_path: Path) -> None:
    storages = open_for_writing(tmp_path, "out")
    push(LayoutStorage(tmp_path / "out"), "theirs", "1.0")
    storages.close()
    assert LayoutStorage(tmp_path / "out").digest_of("1.0") is not None


def test_a_layout_that_may_not_be_made_leaves_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Conflict):
        LayoutStorage(tmp_path, create=True)
    assert os.listdir(tmp_path) == ["file"]
    with pytest.raises(NotFound):
        LayoutStorage(tmp_path / "none")
