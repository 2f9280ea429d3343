"""State: `.provender/state.json`: what was laid where, so that an unchanged project needs no network and no hashing.

Project layer. A cache of this machine and nothing else: lost, damaged or foreign state is no state and costs time.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import msgspec

from provender import __version__
from provender.errors import Conflict
from provender.oci import Digest
from provender.project.stat_index import (
    INDEX_FILE,
    NEXT_FILE,
    STATE_DIRECTORY,
    STATE_FILE,
    Look,
    encode_index,
)

__all__ = ["STATE_DIRECTORY", "Comparison", "DestinationState", "Inputs", "StatEntry", "State", "scan", "unchanged"]

_MAX_BYTES: Final = 1 << 30

# A file that was written in the tick in which it was looked at may be written again in that tick, with the same size:
# its times prove nothing (git calls such an index entry racy). Kernels stamp files by a clock of 1 to 10 ms; a file
# system that shows whole seconds has a tick of one or, for FAT, two.
TICK_NS: Final = 20_000_000
_SECOND_NS: Final = 1_000_000_000
_COARSE_TICK_NS: Final = 2 * _SECOND_NS

Kept = Callable[[str], bool]


class StatEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one look at a file, link or special file tells. `path` is relative, with `/`; `mode` has the file type."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    mode: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How a destination differs from its state; paths are sorted."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    """Looks different; the content may still be the same."""
    uncertain: tuple[str, ...] = ()
    """Looks the same, but may have been written in the instant in which it was looked at: only its content tells."""

    @property
    def is_unchanged(self) -> bool:
        """True if every file is certainly as it was."""
        return not (self.added or self.removed or self.modified or self.uncertain)

    @property
    def is_uncertain(self) -> bool:
        """True if nothing looks different, but content has to be read to be sure."""
        return bool(self.uncertain) and not (self.added or self.removed or self.modified)


class DestinationState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was laid at one destination, and how its files looked at `scanned_ns` (the system's clock)."""

    tree: str
    """The digest of the tree."""
    identity: str
    """What was laid: `LockedDependency.identity`."""
    scanned_ns: int
    files: list[StatEntry]
    contents: list[str] = []
    """What each of `files` holds: the sha256 of a file, the target of a link; empty if it was not recorded."""
    keep: tuple[str, ...] = ()
    """The patterns that were kept, for whoever compares without reading the manifest."""
    directories: list[StatEntry] = []
    """The directories, the destination itself as `""`; not noted if something was kept, which may change them."""

    @classmethod
    def record(
        cls,
        directory: str,
        *,
        tree: Digest,
        identity: Digest,
        contents: Mapping[str, str] | None = None,
        keep: tuple[str, ...] = (),
        kept: Kept | None = None,
    ) -> DestinationState:
        """The state of `directory`, whose content is known to be `tree`.

        Staged files may be recorded before they are swapped in: renaming a directory changes nothing that is looked at.
        Files that exist already are to be recorded before they are hashed, so that a change in between is seen.
        """
        now = time.time_ns()
        files, directories = _walk(directory, kept)
        return cls(
            tree=str(tree),
            identity=str(identity),
            scanned_ns=now,
            files=files,
            contents=[] if contents is None else [contents[entry.path] for entry in files],
            keep=keep,
            directories=directories if kept is None else [],
        )

    def compare(self, directory: str, *, kept: Kept | None = None) -> Comparison:
        """How `directory` differs from what was recorded; paths for which `kept` is true do not count."""
        if kept is None and self._looks_same(directory):
            return Comparison(uncertain=self._uncertain(self.files))
        try:
            found = scan(directory, kept=kept)
        except (FileNotFoundError, NotADirectoryError):
            found = []
        files = self.files if kept is None else [entry for entry in self.files if not kept(entry.path)]
        uncertain = self._uncertain(found)
        if found == files:
            return Comparison(uncertain=uncertain)
        before, after = _by_path(files), _by_path(found)
        return Comparison(
            added=tuple(path for path in after if path not in before),
            removed=tuple(path for path in before if path not in after),
            modified=tuple(path for path, entry in after.items() if path in before and before[path] != entry),
            uncertain=tuple(path for path in uncertain if before.get(path) == after[path]),
        )

    @property
    def is_certain(self) -> bool:
        """True if looking at every file and directory tells whether anything changed."""
        return bool(self.directories) and not self._uncertain(self.directories) and not self._uncertain(self.files)

    def looks(self, to: str) -> Iterator[Look]:
        """Everything that was recorded, as seen from the project, where this is the destination `to`."""
        for entry in chain(self.directories, self.files):
            yield _as_look(entry, f"{to}/{entry.path}" if entry.path else to)

    def _uncertain(self, entries: list[StatEntry]) -> tuple[str, ...]:
        return tuple([entry.path for entry in entries if _is_racy(entry.mtime_ns, self.scanned_ns)])

    def _looks_same(self, directory: str) -> bool:
        """True if everything known is as it was; a directory's time tells that nothing came or went (30 % faster)."""
        if not self.directories or self._uncertain(self.directories):
            return False
        lstat, prefix = os.lstat, directory + "/"
        try:
            for entries in (self.directories, self.files):
                for entry in entries:
                    # Without the slash: a link in the destination's place is not to be followed.
                    seen = lstat(prefix + entry.path if entry.path else directory)
                    if (
                        seen.st_mtime_ns != entry.mtime_ns
                        or seen.st_ino != entry.inode
                        or seen.st_mode != entry.mode
                        or (seen.st_size != entry.size and entries is self.files)
                    ):
                        return False
        except OSError:
            return False
        return True


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """How the files looked that decide what is laid (manifest, lock), and which program read them."""

    program: str
    scanned_ns: int
    files: tuple[StatEntry, ...]

    @classmethod
    def record(cls, directory: Path, names: Iterable[str]) -> Inputs:
        """How these files of `directory` look now; to be taken before they are read."""
        now = time.time_ns()
        found = (_look(directory, name) for name in names)
        return cls(program=__version__, scanned_ns=now, files=tuple(entry for entry in found if entry is not None))

    @property
    def are_certain(self) -> bool:
        """True if looking at the files tells whether they changed."""
        return not any(_is_racy(entry.mtime_ns, self.scanned_ns) for entry in self.files)

    def looks(self) -> list[Look]:
        """The files, for an index."""
        return [_as_look(entry) for entry in self.files]

    def are_unchanged(self, directory: Path, names: Iterable[str]) -> bool:
        """True if the same program would read the same bytes. Times and inodes cannot be known from a checkout."""
        found = Inputs.record(directory, names)
        return (self.program, self.files) == (found.program, found.files) and self.are_certain


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a project's destinations, by their path in the project."""

    version: Literal[1] = 1
    inputs: Inputs | None = None
    destinations: dict[str, DestinationState] = {}
    followed: dict[str, DestinationState] = {}
    """Directories that are not laid but decide what a run does (`followed`), by their path from the project."""
    dependencies: int = 0
    """How many the project has; 0 if as many as there are destinations."""

    @classmethod
    def load(cls, directory: Path) -> State:
        """The state of the project in `directory`; an empty one if there is none that can be used."""
        return cls._load(directory, STATE_FILE)

    @classmethod
    def load_next(cls, directory: Path) -> State:
        """What a run that was killed while it swapped directories was about to make true; empty without one."""
        return cls._load(directory, NEXT_FILE)

    @classmethod
    def _load(cls, directory: Path, name: str) -> State:
        try:
            return msgspec.json.decode(_read(directory / STATE_DIRECTORY, name), type=cls)
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            return cls()

    @staticmethod
    def prepare(directory: Path) -> Path:
        """The directory `.provender` of the project, made if need be, ignored by version control."""
        from provender.storage.files import write_atomically

        place = directory / STATE_DIRECTORY
        place.mkdir(exist_ok=True)
        if place.is_symlink():
            raise Conflict(
                f"{STATE_DIRECTORY} is a symbolic link; nothing is written through it",
                code="state-is-a-link",
                where=str(place),
                hint="remove the link",
            )
        ignore = place / ".gitignore"
        if not os.path.lexists(ignore):
            write_atomically(ignore, b"*\n", durable=False)
        return place

    @staticmethod
    def forget_next(directory: Path) -> None:
        """Drop what `write_next` noted."""
        with suppress(OSError):
            os.unlink(directory / STATE_DIRECTORY / NEXT_FILE)

    def write(self, directory: Path) -> None:
        """Puts the state beside the manifest in one step, in a directory that version control ignores."""
        place = self.prepare(directory)
        # The index names the state that it was made from, and goes before that does.
        with suppress(FileNotFoundError):
            os.unlink(place / INDEX_FILE)
        self._write(directory, STATE_FILE)
        self.forget_next(directory)
        self._write_index(directory)

    def write_next(self, directory: Path) -> None:
        """Notes the state that is about to become true, for whoever comes after a crash."""
        self._write(directory, NEXT_FILE)

    def _write_index(self, directory: Path) -> None:
        """Puts down what to look at to see that nothing changed; nothing where looking is not enough."""
        # Manifest and lock: that a file is still absent is nothing to look at.
        if self.inputs is None or not self.inputs.are_certain or len(self.inputs.files) < 2:
            return
        places = [*self.destinations.items(), *self.followed.items()]
        if not all(laid.is_certain for _, laid in places):
            return
        from provender.storage.files import write_atomically

        state = _look(directory, f"{STATE_DIRECTORY}/{STATE_FILE}")
        inputs = [*self.inputs.looks(), *([] if state is None else [_as_look(state)])]
        tree = [look for to, laid in places for look in laid.looks(to)]
        with suppress(OSError, OverflowError, ValueError):  # without the index the next sync reads the state
            content = encode_index(inputs, tree, dependencies=self.dependencies or len(self.destinations))
            write_atomically(directory / STATE_DIRECTORY / INDEX_FILE, content, durable=False)

    def _write(self, directory: Path, name: str) -> None:
        from provender.storage.files import write_atomically

        write_atomically(self.prepare(directory) / name, msgspec.json.encode(self), durable=False)


def scan(directory: str, *, kept: Kept | None = None) -> list[StatEntry]:
    """Every file, link and special file below `directory`, sorted by path; directories are passed through, links not.

    What vanishes meanwhile is left out. Raises FileNotFoundError, and NotADirectoryError also if it is a link.
    """
    return _walk(directory, kept)[0]


def unchanged(directory: str, state: DestinationState, *, kept: Kept | None = None) -> bool:
    """True if every file of `directory` is certainly as recorded; False also where only hashing could tell."""
    return state.compare(directory, kept=kept).is_unchanged


def _walk(directory: str, kept: Kept | None) -> tuple[list[StatEntry], list[StatEntry]]:
    """The files, sorted, and the directories, as they looked before they were listed."""
    top = os.lstat(directory)
    if not stat.S_ISDIR(top.st_mode):
        raise NotADirectoryError(f"not a directory: {directory}")
    files: list[StatEntry] = []
    directories = [_entry("", top)]
    waiting = [(directory, "")]
    while waiting:
        place, prefix = waiting.pop()
        try:
            listing = os.scandir(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with listing:
            for item in listing:
                path = prefix + (item.name if item.name.isascii() else _utf8(item.name))
                is_directory = item.is_dir(follow_symlinks=False)
                if kept is not None and not is_directory and kept(path):
                    continue
                try:
                    seen = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if is_directory:
                    directories.append(_entry(path, seen))
                    waiting.append((item.path, path + "/"))
                else:
                    files.append(StatEntry(path, seen.st_size, seen.st_mtime_ns, seen.st_ino, seen.st_mode))
    files.sort(key=lambda entry: entry.path)
    return files, directories


def _read(place: Path, name: str) -> bytes:
    """The state's bytes; OSError if they may not be used, as when something is a link that was checked in."""
    if not stat.S_ISDIR(os.lstat(place).st_mode):
        raise NotADirectoryError(str(place))
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    with open(os.open(place / name, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
            raise OSError("not a file of ours")
        return file.read(found.st_size + 1)  # a limit of a gigabyte would be allocated


def _look(directory: Path, name: str) -> StatEntry | None:
    try:
        seen = os.stat(directory / name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _entry(name, seen)


def _entry(path: str, seen: os.stat_result) -> StatEntry:
    return StatEntry(path, seen.st_size, seen.st_mtime_ns, seen.st_ino, seen.st_mode)


def _as_look(entry: StatEntry, path: str | None = None) -> Look:
    return (path or entry.path, entry.size, entry.mtime_ns, entry.inode, entry.mode)


def _is_racy(mtime_ns: int, scanned_ns: int) -> bool:
    if mtime_ns < scanned_ns - _COARSE_TICK_NS:
        return False
    return mtime_ns >= scanned_ns - (TICK_NS if mtime_ns % _SECOND_NS else _COARSE_TICK_NS)


def _by_path(entries: Iterable[StatEntry]) -> dict[str, StatEntry]:
    return {entry.path: entry for entry in entries}


def _utf8(name: str) -> str:
    """A name for the index: bytes that are no UTF-8 are spelled out, since JSON has no room for them."""
    return name.encode("utf-8", "backslashreplace").decode()
