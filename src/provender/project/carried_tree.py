"""Carried trees: files of any origin as blobs, so that an archive can carry them and the cache can lay them.

Project layer. The listing of a tree is a blob whose sha256 is the `tree` of the lock, and it names each file by its
own sha256: whoever has the lock can ask for the listing, and with that for the files. Nothing but digests is trusted.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from provender.artifact.entry import tree_lines
from provender.artifact.names import split_path
from provender.artifact.tree import Entry, TreeWriter, tree_digest
from provender.errors import IntegrityError, ProvenderError
from provender.oci import Descriptor, Digest
from provender.storage.cache import BlobCache
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.storage.verify import CHUNK_BYTES, read_all
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress, WatchedReader

__all__ = ["FILE_TYPE", "TREE_TYPE", "lay_carried", "listing", "read_listing"]

TREE_TYPE: Final = "application/vnd.provender.tree.v1"
FILE_TYPE: Final = "application/vnd.provender.file.v1"

_HEAD: Final = re.compile(r"(?:f (644|755) ([0-9a-f]{64})|l (-) ([^\0]+))", re.DOTALL)
_ORIGIN: Final = "a carried tree"


def listing(entries: tuple[Entry, ...]) -> bytes:
    """The listing of a tree; its sha256 is the tree's digest."""
    return b"".join(tree_lines(entries))


def read_listing(raw: bytes, tree: Digest) -> tuple[Entry, ...]:
    """The entries of the listing `raw` of `tree`, without their sizes, which it does not tell.

    Raises IntegrityError for another digest, a path that may not be laid, or anything that we would not write.
    """
    if Digest.of(raw) != tree:
        raise IntegrityError(f"the listing of {tree} has other content", code="digest-mismatch")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _unreadable(tree) from error
    entries = []
    while text:
        head, null, rest = text.partition("\0")
        path, end, text = rest.partition("\n")
        found = _HEAD.fullmatch(head)
        if found is None or not null or not end:
            raise _unreadable(tree)
        kind: Literal["f", "l"] = "l" if found[3] else "f"
        mode: Literal["644", "755", "-"] = "-" if found[3] else "755" if found[1] == "755" else "644"
        split_path(path, where=_ORIGIN)
        entries.append(Entry(path, kind, mode, found[4] or found[2], 0))
    if listing(tuple(entries)) != raw or len({each.path for each in entries}) != len(entries):
        raise _unreadable(tree)
    return tuple(entries)


def lay_carried(
    cache: BlobCache,
    tree: Digest,
    staging: str,
    *,
    progress: Progress,
    cancellation: Cancellation,
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[Entry, ...] | None:
    """The entries of `tree`, laid in the empty directory `staging` from the cache alone.

    None, and nothing written, if the cache lacks the listing or a file. After an error the directory is to be emptied.
    """
    named = cache.find(tree)
    if named is None or named.size > limits.total_name_bytes:
        return None
    reader = cache.open(named)
    if reader is None:
        return None
    with reader:
        entries = read_listing(read_all(reader, limits.total_name_bytes), tree)
    blobs = {each.path: cache.find(Digest(f"sha256:{each.content}")) for each in entries if each.kind == "f"}
    if any(blob is None for blob in blobs.values()):
        return None
    task = progress.start(tree.short, sum(blob.size for blob in blobs.values() if blob is not None))
    with TreeWriter(staging, limits) as writer:
        for entry in entries:
            blob = blobs.get(entry.path)
            if blob is None:
                writer.symlink(tuple(entry.path.split("/")), entry.content, origin=_ORIGIN)
            else:
                _lay_file(writer, entry, blob, cache, progress, task, cancellation)
        laid = writer.finish()
    if tree_digest(laid) != tree:
        raise IntegrityError(f"what was laid of {tree} is another tree", code="tree-mismatch")
    progress.done(task)
    return laid


def _lay_file(
    writer: TreeWriter,
    entry: Entry,
    blob: Descriptor,
    cache: BlobCache,
    progress: Progress,
    task: int,
    cancellation: Cancellation,
) -> None:
    with cache.fetch(blob) as source, WatchedReader(source, progress, task, cancellation) as reader:
        writer.file(
            tuple(entry.path.split("/")),
            reader,
            executable=entry.mode == "755",
            size=blob.size,
            sha256=entry.content,
            origin=_ORIGIN,
        )
        _finish(reader)


def _finish(reader: WatchedReader) -> None:
    """Read to the end, where a verifying reader has its verdict."""
    while reader.read(CHUNK_BYTES):
        pass


def _unreadable(tree: Digest) -> ProvenderError:
    return IntegrityError(
        f"the listing of {tree} is not one that provender writes",
        code="bad-listing",
        hint="delete the cache, or export anew",
    )
