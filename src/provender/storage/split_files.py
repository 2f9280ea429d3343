"""One file in several parts, `NAME.001`, `NAME.002` …, and the small file `NAME.parts` that says what they have to be.

Storage layer. Parts are written as they fill up and get their names together at the end, `NAME.parts` last. They are
read as one volume, named by the first part or by `NAME.parts`; without that file (hauler and `split -d` write none)
whatever follows the first part without a gap is read, and content is verified by its digests alone.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import msgspec

from provender.errors import IntegrityError, InvalidDocument, InvalidReference, NotFound, ProvenderError
from provender.storage.files import AtomicFile, sync_directory, temporary_name, write_atomically
from provender.storage.volume import FileVolume

__all__ = ["MAX_PARTS", "FilePart", "SplitFile", "first_part", "parts_list", "parts_there", "stored_volume"]

MAX_PARTS: Final = 10_000
_SUFFIX: Final = ".parts"
_MAX_LIST_BYTES: Final = 4 << 20
# zarf writes NAME.part001 and so on; its NAME.part000 has no content.
_NUMBERED: Final = re.compile(r"(?P<base>.+)\.(?P<word>part)?(?P<number>[0-9]{3,6})", re.DOTALL)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES: Final = 1 << 20


class FilePart(msgspec.Struct, frozen=True, kw_only=True):
    """One part: its name beside the others, its size, and the sha256 of its bytes in hexadecimal digits."""

    name: str
    size: int
    sha256: str


class _Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `NAME.parts`."""

    version: Literal[1] = 1
    size: int
    parts: tuple[FilePart, ...]


_DECODER: Final = msgspec.json.Decoder(_Parts)


def first_part(path: Path) -> Path:
    """The name of the first part of a file that is to be called `path`."""
    return path.with_name(f"{path.name}.001")


def parts_list(path: Path) -> Path:
    """The name of the list of its parts."""
    return path.with_name(f"{path.name}{_SUFFIX}")


def parts_there(path: Path) -> list[Path]:
    """Whatever has the name of a part of a file that is to be called `path`, sorted, and the list of parts."""
    own = re.compile(rf"{re.escape(path.name)}\.[0-9]{{3,6}}")
    with os.scandir(path.parent) as entries:
        found = sorted(entry.name for entry in entries if own.fullmatch(entry.name))
    listing = parts_list(path)
    return [*(path.with_name(name) for name in found), *([listing] if listing.exists() else [])]


class SplitFile:
    """Parts in the making, of `part_bytes` each: `write`, then `commit` gives all of them their names.

    Leaving the `with` block without a commit leaves nothing behind. What has the names by then is replaced.
    """

    def __init__(self, path: Path, part_bytes: int) -> None:
        self._path = path
        self._part_bytes = part_bytes
        self._temporaries: list[Path] = []
        self._files: list[AtomicFile] = []
        self._named: list[Path] = []
        self._done: list[FilePart] = []
        self._hasher = hashlib.sha256()
        self._size = 0
        self._finished = False

    def write(self, chunk: bytes, /) -> None:
        """Append `chunk`, to as many parts as it takes."""
        rest = memoryview(chunk)
        while rest:
            if not self._files or self._size == self._part_bytes:
                self._begin()
            piece = bytes(rest[: self._part_bytes - self._size])
            self._files[-1].write(piece)
            self._hasher.update(piece)
            self._size += len(piece)
            rest = rest[len(piece) :]

    def commit(self) -> tuple[FilePart, ...]:
        """Give the parts their names and say what they are."""
        self._seal()
        listing = parts_list(self._path)
        with suppress(FileNotFoundError):  # never may an old list stand beside new parts
            os.unlink(listing)
        for file, part in zip(self._files, self._done, strict=True):
            self._named.append(self._path.with_name(part.name))
            file.commit()
        found = _Parts(size=sum(part.size for part in self._done), parts=tuple(self._done))
        self._named.append(listing)
        write_atomically(listing, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
        self._finished = True
        self._remove_stale()
        sync_directory(self._path.parent)
        return found.parts

    def discard(self) -> None:
        """Leave nothing behind; after a commit it does nothing."""
        if self._finished:
            return
        self._finished = True
        for file in self._files:
            file.discard()
        for path in (*self._temporaries, *self._named):
            with suppress(OSError):
                os.unlink(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.discard()

    def _begin(self) -> None:
        self._seal()
        if len(self._files) == MAX_PARTS:
            raise InvalidReference(
                f"more than {MAX_PARTS} parts", code="too-many-parts", hint="make the parts of --split larger"
            )
        path = self._path.with_name(self._name(len(self._files) + 1))
        self._temporaries.append(path.with_name(temporary_name(path.name)))
        self._files.append(AtomicFile(path, temporary=self._temporaries[-1]))
        self._hasher, self._size = hashlib.sha256(), 0

    def _seal(self) -> None:
        if len(self._files) > len(self._done):
            self._files[-1].seal()
            name = self._name(len(self._files))
            self._done.append(FilePart(name=name, size=self._size, sha256=self._hasher.hexdigest()))

    def _name(self, number: int) -> str:
        return f"{self._path.name}.{number:03}"

    def _remove_stale(self) -> None:
        """Parts of a longer file that had the name: without the list they would be taken for ours."""
        for number in range(len(self._files) + 1, MAX_PARTS + 1):
            try:
                os.unlink(self._path.with_name(self._name(number)))
            except OSError:
                return


def stored_volume(path: Path, *, where: str) -> FileVolume:
    """The bytes that `path` names: a file, or the parts of one, by the first of them or by their list.

    Raises NotFound (`part-missing`), IntegrityError (`part-damaged`, `parts-swapped`: by sizes here, by digests where
    the volume is asked for blame), InvalidDocument (`invalid-parts`) for a list that is none.
    """
    try:
        if path.name.endswith(_SUFFIX):
            return _listed(path, where)
        numbered = _NUMBERED.fullmatch(path.name)
        if numbered is None:
            return FileVolume([path], where=where)
        first = path.with_name(_part_name(numbered, 1))
        if numbered["word"] and not int(numbered["number"]):
            path = first
        if path != first:
            if not first.exists():
                return FileVolume([path], where=where)
            raise InvalidReference(
                f"{path.name} is a part of an archive", code="not-the-first-part", hint=f"name the first part, {first}"
            )
        listing = parts_list(path.with_name(numbered["base"]))
        is_listed = listing.exists() and not numbered["word"]
        return _listed(listing, where) if is_listed else FileVolume(_following(path, numbered), where=where)
    except ProvenderError as error:
        error.at(where)
        raise


def _following(first: Path, numbered: re.Match[str]) -> Sequence[Path]:
    """The parts from the first one on, which nothing lists."""
    paths = [first]
    for number in count(2):
        path = first.with_name(_part_name(numbered, number))
        if not path.exists():
            after = path.with_name(_part_name(numbered, number + 1))
            if after.exists():
                raise _missing([path.name], number + 1)
            return paths
        paths.append(path)
        if number > MAX_PARTS:
            break
    raise _invalid(f"there are more than {MAX_PARTS} parts")


def _part_name(numbered: re.Match[str], number: int) -> str:
    return f"{numbered['base']}.{numbered['word'] or ''}{number:0{len(numbered['number'])}}"


class _ListedVolume(FileVolume):
    """Parts of which a list says what they have to be."""

    def __init__(self, directory: Path, parts: Sequence[FilePart], *, where: str) -> None:
        self._parts = parts
        self._files = [directory / part.name for part in parts]
        lacking = [part.name for part, path in zip(parts, self._files, strict=True) if not path.is_file()]
        if lacking:
            raise _missing(lacking, len(parts))
        super().__init__(self._files, where=where)
        if [path.stat().st_size for path in self._files] != [part.size for part in parts]:
            self.blame()

    def blame(self) -> None:
        """Hash the parts, and name the first that is not what the list says."""
        by_digest = {part.sha256: part.name for part in self._parts}
        for part, path in zip(self._parts, self._files, strict=True):
            found = _sha256(path)
            if found == part.sha256:
                continue
            if found in by_digest:
                raise IntegrityError(
                    f"{part.name} has the content of {by_digest[found]}: parts of the archive were swapped",
                    code="parts-swapped",
                    where=str(path),
                    hint="give the parts their names again",
                )
            size = path.stat().st_size
            why = f"{size} bytes, not {part.size}" if size != part.size else f"sha256:{found}, not sha256:{part.sha256}"
            raise IntegrityError(
                f"the part {part.name} is damaged: it has {why}",
                code="part-damaged",
                where=str(path),
                hint="fetch this part again; the others may be whole",
            )


def _listed(listing: Path, where: str) -> FileVolume:
    try:
        with open(listing, "rb") as file:
            raw = file.read(_MAX_LIST_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFound(f"no such file: {listing}", code="layout-not-found", hint="check the path") from error
    if len(raw) > _MAX_LIST_BYTES:
        raise _invalid(f"it has more than {_MAX_LIST_BYTES} bytes")
    try:
        found = _DECODER.decode(raw)
    except msgspec.DecodeError as error:
        raise _invalid(str(error)) from error
    names = [part.name for part in found.parts]
    if not 0 < len(names) <= MAX_PARTS or len(set(names)) != len(names):
        raise _invalid(f"it has {len(names)} parts, or names one twice")
    for part in found.parts:
        # Names of files beside it, whatever the system takes for a separator.
        if part.name in ("", ".", "..") or any(char in part.name for char in "/\\:\0"):
            raise _invalid(f"{part.name[:150]!r} is not the name of a part")
        if part.size < 0 or _SHA256.fullmatch(part.sha256) is None:
            raise _invalid(f"what it says of {part.name[:150]!r} cannot be")
    return _ListedVolume(listing.parent, found.parts, where=where)


def _sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def _missing(names: Sequence[str], total: int) -> NotFound:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return NotFound(
        f"of the {total} parts of the archive {len(names)} are missing: {shown}",
        code="part-missing",
        hint="bring all parts into one directory",
    )


def _invalid(why: str) -> InvalidDocument:
    return InvalidDocument(
        f"not a list of parts: {why[:300]}",
        code="invalid-parts",
        hint="bring it again with the parts; or leave it away, and name the first part",
    )
