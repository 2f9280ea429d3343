"""Carried trees: what a listing says, what is refused in it, and how the cache lays one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.artifact.tree import Entry, tree_digest
from provender.errors import IntegrityError
from provender.oci import Descriptor, Digest
from provender.project.carried_tree import FILE_TYPE, TREE_TYPE, lay_carried, listing, read_listing
from provender.storage.cache import BlobCache
from provender.storage.verify import BytesReader
from provender.transfer.pool import Cancellation
from provender.transfer.progress import NO_PROGRESS

CONTENT = b"content\n"
SHA = Digest.of(CONTENT).encoded


@pytest.fixture
def cache(tmp_path: Path) -> BlobCache:
    return BlobCache(tmp_path / "cache", max_bytes=1 << 20)


def store(cache: BlobCache, content: bytes, media_type: str = FILE_TYPE) -> None:
    cache.push(Descriptor.of(content, media_type), BytesReader(content))


def lay(cache: BlobCache, tree: Digest, staging: Path) -> tuple[Entry, ...] | None:
    staging.mkdir()
    return lay_carried(cache, tree, str(staging), progress=NO_PROGRESS, cancellation=Cancellation())


def test_a_tree_is_laid_from_its_listing_and_files(cache: BlobCache, tmp_path: Path) -> None:
    entries = (
        Entry("bin/run", "f", "755", SHA, 8),
        Entry("bin/same", "f", "644", SHA, 8),
        Entry("to", "l", "-", "bin/run", 0),
    )
    raw = listing(entries)
    assert Digest.of(raw) == tree_digest(entries)
    store(cache, raw, TREE_TYPE)
    assert lay(cache, tree_digest(entries), tmp_path / "early") is None
    assert os.listdir(tmp_path / "early") == []
    store(cache, CONTENT)
    assert lay(cache, tree_digest(entries), tmp_path / "out") == entries
    assert (tmp_path / "out/bin/run").read_bytes() == CONTENT
    assert os.access(tmp_path / "out/bin/run", os.X_OK)
    assert not os.access(tmp_path / "out/bin/same", os.X_OK)
    assert os.readlink(tmp_path / "out/to") == "bin/run"


def test_a_damaged_file_of_the_cache_is_never_laid(cache: BlobCache, tmp_path: Path) -> None:
    entries = (Entry("a", "f", "644", SHA, 8),)
    store(cache, listing(entries), TREE_TYPE)
    store(cache, CONTENT)
    (cache.root / "blobs/sha256" / SHA).write_bytes(b"Content\n")
    with pytest.raises(Exception, match=r"not in the cache|damaged"):
        lay(cache, tree_digest(entries), tmp_path / "out")
    assert lay(cache, tree_digest(entries), tmp_path / "again") is None


@pytest.mark.parametrize(
    "raw",
    [
        f"f 644 {SHA}\0../out\n",
        f"f 644 {SHA}\0/etc/passwd\n",
        f"f 644 {SHA}\0a\\b\n",
        f"f 600 {SHA}\0a\n",
        f"f 644 {SHA.upper()}\0a\n",
        f"d 644 {SHA}\0a\n",
        f"f 644 {SHA}\0a",
        f"f 644 {SHA} a\n",
        f"f 644 {SHA}\0b\nf 644 {SHA}\0a\n",
        f"f 644 {SHA}\0a\nf 644 {SHA}\0a\n",
        "l - \0a\n",
        "garbage",
    ],
)
def test_a_listing_that_we_would_not_write_is_refused(raw: str) -> None:
    with pytest.raises(IntegrityError):
        read_listing(raw.encode(), Digest.of(raw.encode()))


def test_a_link_out_of_the_tree_is_refused_when_it_is_laid(cache: BlobCache, tmp_path: Path) -> None:
    raw = b"l - ../../etc\0a\n"
    store(cache, raw, TREE_TYPE)
    with pytest.raises(IntegrityError):
        lay(cache, Digest.of(raw), tmp_path / "out")


@given(
    st.dictionaries(
        st.text("abc.-é", min_size=1, max_size=5).filter(lambda name: name.strip(". ") == name),
        st.sampled_from([("f", "644", SHA), ("f", "755", SHA), ("l", "-", "abc")]),
        max_size=8,
    )
)
def test_every_listing_is_read_as_it_was_written(tree: dict[str, tuple[str, str, str]]) -> None:
    entries = tuple(Entry(path, *what, 0) for path, what in sorted(tree.items()))  # type: ignore[arg-type]
    assert read_listing(listing(entries), tree_digest(entries)) == entries
