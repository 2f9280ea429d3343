from __future__ import annotations

from pathlib import Path

import pytest

from provender.errors import IntegrityError, InvalidReference, NotFound, Unsupported
from provender.storage import roots
from provender.storage.roots import StoreRoot
from support.content import manifest


def test_repositories_are_made_and_listed_once(tmp_path: Path) -> None:
    root = StoreRoot(tmp_path / "store")
    assert list(root.repositories()) == []
    for name in ("b", "a/deep/one", "a", "a/two"):
        root.repository(name, create=True).push_document(manifest(name), ["v1"])
    assert list(root.repositories()) == ["a", "a/deep/one", "a/two", "b"]
    assert root.repository("a/two").resolve("v1") == manifest("a/two")


def test_unknown_repository_names_the_near_ones(tmp_path: Path) -> None:
    root = StoreRoot(tmp_path)
    with pytest.raises(NotFound) as empty:
        root.repository("acme/app")
    assert "empty" in (empty.value.hint or "")
    root.repository("acme/apps", create=True)
    with pytest.raises(NotFound) as caught:
        root.repository("acme/app")
    assert caught.value.hint == "did you mean acme/apps?"


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/etc", "A", "a//b", "a\\b", "."])
def test_names_that_are_no_repositories_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidReference):
        StoreRoot(tmp_path / "store").repository(name, create=True)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["a/blobs", "a/index.json/b", "a/oci-layout"])
def test_names_inside_of_a_layout_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unsupported) as caught:
        StoreRoot(tmp_path).repository(name, create=True)
    assert caught.value.code == "reserved-repository"


def test_store_never_follows_a_link(tmp_path: Path) -> None:
    outside = StoreRoot(tmp_path / "outside")
    outside.repository("x", create=True)
    root = StoreRoot(tmp_path / "store")
    root.repository("a", create=True)
    (tmp_path / "store" / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "store" / "x").symlink_to(tmp_path / "outside" / "x")
    assert list(root.repositories()) == ["a"]
    for name in ("out/x", "x", "out/new"):
        with pytest.raises(IntegrityError):
            root.repository(name, create=True)
    assert list(outside.repositories()) == ["x"]


def test_content_of_a_layout_is_no_repository(tmp_path: Path) -> None:
    root = StoreRoot(tmp_path)
    storage = root.repository("a", create=True)
    nested = storage.path / "blobs" / "sha256" / "x"
    nested.mkdir()
    for name in ("oci-layout", "index.json"):
        (nested / name).write_bytes((storage.path / name).read_bytes())
    assert list(root.repositories()) == ["a"]


def test_repository_whose_first_component_is_blobs_works(tmp_path: Path) -> None:
    StoreRoot(tmp_path).repository("blobs", create=True)
    assert list(StoreRoot(tmp_path).repositories()) == ["blobs"]


def test_walk_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "_MAX_ENTRIES", 10)
    for number in range(11):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(Unsupported) as caught:
        list(StoreRoot(tmp_path).repositories())
    assert caught.value.code == "store-too-large"
