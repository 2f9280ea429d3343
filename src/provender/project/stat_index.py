"""The stat index: what an unchanged project looks like, in a form that the bare interpreter reads in a millisecond.

Project layer, below the state, which it is derived from and never outlives. Only the standard library, and next to
nothing of that: importing the model and decoding the state take longer than looking at 20,000 files. Whatever is in
doubt is "changed" here; the state then tells more.
"""

from __future__ import annotations

import os
import stat
import sys
from array import array

from provender import __version__

TYPE_CHECKING = False  # as mypy knows it; importing `typing` takes as long as 4,000 looks
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["INDEX_FILE", "Look", "encode_index", "unchanged_count", "unchanged_note"]

STATE_DIRECTORY = ".provender"
STATE_FILE = "state.json"
NEXT_FILE = "state.next.json"
JOURNAL_FILE = "staging"
INDEX_FILE = "index"

# Numbers are this machine's own: in its byte order, as the program that wrote them meant them.
_MAGIC = f"provender-index 2 {sys.byteorder} {__version__}\n".encode()
_COUNTS = 4
_NUMBERS_EACH = 4
_MAX_BYTES = 1 << 28
# Files; looking at fewer takes less time than a second process does.
_MANY = 4000
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)

Look = tuple[str, int, int, int, int]
"""A path below the project, with `/`, and what one look at it told: size, mtime_ns, inode, mode."""


def encode_index(inputs: Sequence[Look], tree: Sequence[Look], *, dependencies: int, note: bytes = b"") -> bytes:
    """The index of a project whose `inputs` are followed if they are links, and whose `tree` is not.

    `note` is kept with it, for as long as all of that is unchanged. OverflowError or ValueError if a number or a name
    does not fit.
    """
    looks = [*inputs, *tree]
    paths, sizes, times, inodes, modes = zip(*looks, strict=True)
    names = "\0".join(paths).encode()
    if names.count(b"\0") != len(looks) - 1:
        raise ValueError("a name has a zero in it")
    numbers = array("q", (dependencies, len(inputs), len(looks), len(note), *sizes, *times, *inodes, *modes))
    return _MAGIC + numbers.tobytes() + note + names


def unchanged_count(directory: str) -> int | None:
    """How many dependencies the project in `directory` has, if nothing changed since its last sync; else None.

    None says only that it is not known here.
    """
    found = _unchanged(directory, INDEX_FILE, b"")
    return None if found is None else found[0]


def unchanged_note(directory: str, file: str, *, start: bytes) -> bytes | None:
    """What follows `start` in the note of the index `file`, if it begins so and nothing changed; else None."""
    found = _unchanged(directory, file, start)
    return None if found is None else found[1][len(start) :]


def _unchanged(directory: str, file: str, start: bytes) -> tuple[int, bytes] | None:
    try:
        raw = _read(os.path.join(directory, STATE_DIRECTORY) if directory else STATE_DIRECTORY, file)
        if not raw.startswith(_MAGIC):
            return None
        return _compare(memoryview(raw)[len(_MAGIC) :], f"{directory}/".encode() if directory else b"", start)
    except (OSError, ValueError):
        return None


def _read(place: str, file: str) -> bytes:
    if not stat.S_ISDIR(os.lstat(place).st_mode):
        return b""
    if os.path.lexists(f"{place}/{NEXT_FILE}") or os.path.lexists(f"{place}/{JOURNAL_FILE}"):
        return b""  # a run was killed, and left something to put right
    fd = os.open(f"{place}/{file}", _FLAGS)
    with open(fd, "rb", buffering=0) as opened:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
            return b""
        return opened.read(found.st_size + 1) or b""


def _compare(content: memoryview, prefix: bytes, start: bytes) -> tuple[int, bytes] | None:
    numbers = array("q")
    end = _COUNTS * numbers.itemsize
    numbers.frombytes(content[:end])
    dependencies, inputs, total, noted = numbers
    if not 0 <= dependencies <= total or not 0 < inputs <= total <= len(content) or not 0 <= noted <= len(content):
        return None
    columns = array("q")
    columns.frombytes(content[end : end + _NUMBERS_EACH * total * columns.itemsize])
    end += len(columns) * columns.itemsize
    note = bytes(content[end : end + noted])
    names = bytes(content[end + noted :]).split(b"\0")
    if len(names) != total or len(columns) != _NUMBERS_EACH * total or not note.startswith(start):
        return None
    if prefix:
        names = [prefix + name for name in names]
    table = [columns[n * total : (n + 1) * total] for n in range(_NUMBERS_EACH)]
    if not _are_same(os.stat, names, table, 0, inputs):
        return None
    return (dependencies, note) if _is_tree_same(names, table, inputs) else None


def _is_tree_same(names: list[bytes], table: list[array[int]], start: int) -> bool:
    end = len(names)
    if end - start < _MANY or not hasattr(os, "fork") or (os.cpu_count() or 1) < 2:
        return _are_same(os.lstat, names, table, start, end)
    # Another process looks at the other half. Threads would only wait for each other: a look is too short for them. No
    # thread runs here that a fork could leave in the middle of something.
    half = (start + end) // 2
    child = os.fork()
    if child == 0:
        is_same = False
        try:
            is_same = _are_same(os.lstat, names, table, half, end)
        finally:
            os._exit(0 if is_same else 1)
    status = 1
    try:
        is_same = _are_same(os.lstat, names, table, start, half)
    finally:
        status = os.waitpid(child, 0)[1]
    return is_same and status == 0


def _are_same(
    look: Callable[[bytes], os.stat_result], names: list[bytes], table: list[array[int]], start: int, end: int
) -> bool:
    expected = zip(*[column[start:end] for column in table], strict=True)
    for seen, (size, mtime_ns, inode, mode) in zip(map(look, names[start:end]), expected, strict=True):
        if seen.st_mtime_ns != mtime_ns or seen.st_ino != inode or seen.st_mode != mode or seen.st_size != size:
            return False
    return True
