"""The scribe's own process: creates the small files that it is told through a pipe. See `scribe`.

Run as a script by an interpreter without site packages, so it takes a few milliseconds to start and imports nothing of
ours. Standard input brings batches, the descriptor ROOT is the tree, standard output takes the one answer. The end of
the input, which is also what the death of the other side looks like, ends it.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import signal
import sys

ROOT = 3
HASHING = "hash"
LENGTH_BYTES = 4

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def main() -> None:
    """Work until the input ends; answer with an error or None, how many files were written, and their SHA-256."""
    # A Ctrl-C is for the other side, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0)
    is_hashing = HASHING in sys.argv
    digests: list[bytes] = []
    error: tuple[int, str] | None = None
    with open(0, "rb", buffering=1 << 18) as batches:
        while len(head := batches.read(LENGTH_BYTES)) == LENGTH_BYTES:
            folder, files = marshal.loads(batches.read(int.from_bytes(head, "big")))  # noqa: S302 - from our own kind
            if error is None:
                error = _write(folder, files, digests, is_hashing=is_hashing)
    with open(1, "wb") as answer:
        marshal.dump((error, len(digests), b"".join(digests)), answer)


def _write(
    folder: str, files: list[tuple[str, int, bytes]], digests: list[bytes], *, is_hashing: bool
) -> tuple[int, str] | None:
    """The number of the error, and the path that met it; None if all of the batch is written."""
    path = folder
    try:
        directory = _opened(folder)
        try:
            for name, mode, content in files:
                path = f"{folder}/{name}"
                fd = os.open(name, _NEW, mode, dir_fd=directory)
                try:
                    done = os.write(fd, content) if content else 0
                    while done < len(content):
                        done += os.write(fd, content[done:])
                finally:
                    os.close(fd)
                digests.append(hashlib.sha256(content).digest() if is_hashing else b"")
        finally:
            os.close(directory)
    except OSError as error:
        return error.errno or 0, path
    return None


def _opened(folder: str) -> int:
    """The directory, entered one component after the other and never through a link."""
    fd = os.dup(ROOT)
    for part in folder.split("/"):
        above = fd
        try:
            fd = os.open(part, _DIRECTORY, dir_fd=above)
        finally:
            os.close(above)
    return fd


if __name__ == "__main__":
    main()
