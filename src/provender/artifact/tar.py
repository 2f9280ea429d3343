"""Tar archives unpacked into a tree: our own reader, because what an archive may do here is decided member by member.

Artifact layer, over the decompressed stream and the tree writer. One pass, a window of a few MiB, no seeking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NoReturn

import msgspec

from provender.artifact.ahead import ReadAhead
from provender.artifact.names import PLAIN_NAME, is_plain, shown, split_path
from provender.artifact.tree import Reader, SmallFile, TreeWriter
from provender.errors import IntegrityError, ProvenderError, Unsupported
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.storage.tar_header import (
    BLOCK_BYTES,
    Header,
    bad_archive,
    has_checksum,
    parse_header,
    parse_pax,
    parse_pax_size,
)

__all__ = ["Member", "TarReader", "extract_tar"]

_CHUNK_BYTES: Final = 1 << 20
_ZERO_BLOCK: Final = bytes(BLOCK_BYTES)
_MAX_EXTENSIONS: Final = 8
_HINT: Final = "nothing was unpacked; the archive is damaged or hostile"
_ROOT: Final = frozenset((".", "./"))
_FILES: Final = frozenset((b"0", b"\0", b"7"))
_EXTENSIONS: Final = frozenset((b"x", b"g", b"L", b"K"))
_SPECIAL: Final = {b"3": "a character device", b"4": "a block device", b"6": "a FIFO"}
_KINDS: Final[dict[bytes, Literal["link", "hardlink", "directory"]]] = {
    b"1": "hardlink",
    b"2": "link",
    b"5": "directory",
}


# What nearly every archive is made of: a file in a directory, a plain name in one piece, a common mode, and numbers as
# most writers write them.
_PLAIN_HEADER: Final = re.compile(
    rb"(?=([a-z0-9_@+=,~./-]+)/(" + PLAIN_NAME.encode() + rb")\0).{100}"
    rb"(0000644|0000755)\0.{16}([0-7]{11})[\0 ].{12}([0-7]{6})\0 0.{100}ustar.{83}\0.{166}",
    re.DOTALL | re.IGNORECASE,
)
_NAME_BYTES: Final = 100
_EXECUTABLE: Final = b"0000755"


class Member(msgspec.Struct, frozen=True, gc=False):
    """One member of an archive. `path` is checked components joined by `/`; `""` is the root, only ever a directory."""

    path: str
    kind: Literal["file", "directory", "link", "hardlink", "special"]
    size: int
    executable: bool
    link: str
    """The unchecked target of a link."""
    mode: int = 0
    """The permissions of a file, as the archive has them."""


def extract_tar(
    stream: Reader,
    writer: TreeWriter,
    *,
    limits: Limits = DEFAULT_LIMITS,
    origin: str,
    strip: tuple[str, ...] = (),
) -> None:
    """Unpacks all of `stream` into `writer` and reads it to its end; the names lose the prefix `strip`.

    Raises IntegrityError for a damaged or hostile archive and for members outside of `strip`, Unsupported (code
    `sparse-file`) for sparse files.
    """
    prefix = "".join([f"{part}/" for part in strip])
    with ReadAhead(stream) as ahead:
        reader = TarReader(ahead, limits=limits, where=origin)
        while (member := reader.next()) is not None:
            path = member.path
            if prefix:
                if member.kind == "directory" and (not path or prefix.startswith(f"{path}/")):
                    continue
                path = _without(prefix, path, origin)
            if member.kind == "file":
                writer.add_file(path, reader.content(), executable=member.executable, size=member.size, origin=origin)
                if files := reader.small_files():
                    if prefix:
                        files = [file._replace(path=_without(prefix, file.path, origin)) for file in files]
                    writer.add_files(files, origin=origin)
            elif member.kind == "directory":
                if path:
                    writer.directory(tuple(path.split("/")), origin=origin)
            elif member.kind == "link":
                writer.symlink(tuple(path.split("/")), member.link, origin=origin)
            else:
                target = _without(prefix, "/".join(split_path(member.link, where=origin, limits=limits)), origin)
                writer.hardlink(tuple(path.split("/")), tuple(target.split("/")), origin=origin)
        ahead.drain()


class TarReader:
    """The members of a tar in order. After a file, `content` gives its bytes; what was not taken is skipped.

    Devices and pipes are refused, unless it `tells_special`: then they are members of their own kind.
    """

    def __init__(
        self, stream: Reader, *, limits: Limits = DEFAULT_LIMITS, where: str = "", tells_special: bool = False
    ) -> None:
        self._stream = stream
        self._tells_special = tells_special
        self._limits = limits
        self._where = where
        self._buffer = b""
        self._at = 0
        self._left = 0
        self._padding = 0
        self._members = 0
        self._parent = ""
        self._prefix = ""

    def next(self) -> Member | None:
        """The next member; None at the end of the archive (the stream may go on)."""
        try:
            return self._next()
        except ProvenderError as error:
            error.at(self._where)
            raise

    def content(self) -> bytes | Iterator[bytes]:
        """The content of the file that `next` gave: at once when it is small, else in pieces."""
        size = self._left
        if size > _CHUNK_BYTES:
            return self._pieces()
        self._fill(size + self._padding)
        start = self._at
        self._at = start + size + self._padding
        self._left = self._padding = 0
        return self._buffer[start : start + size]

    def small_files(self) -> list[SmallFile]:
        """The files that come next, as far as they are plain, whole in the buffer and in the directory of the last one.

        What `next` and `content` would give, in half the time; whatever needs a closer look ends the list.
        """
        found: list[SmallFile] = []
        if self._left or self._padding or not self._prefix:
            return found
        buffer, at, prefix, parent = self._buffer, self._at, self._prefix, self._parent.encode()
        longest = min(self._limits.name_bytes, self._limits.path_bytes // 4 - len(prefix))
        while (match := _PLAIN_HEADER.match(buffer, at)) is not None:
            folder, name, mode, digits, checksum = match.groups()
            size, start = int(digits, 8), at + BLOCK_BYTES
            end = start + size + -size % BLOCK_BYTES
            if (
                end > len(buffer)
                or folder != parent
                or len(name) > longest
                # Without a zero it fills the field, and the pattern read on into the next one.
                or len(folder) + len(name) + 1 >= _NAME_BYTES
                or not has_checksum(buffer[at:start], int(checksum, 8))
            ):
                break
            found.append(SmallFile(prefix + name.decode(), buffer[start : start + size], mode == _EXECUTABLE))
            at = end
        self._at = at
        self._count(len(found))
        return found

    def _next(self) -> Member | None:
        if self._left or self._padding:
            self._skip()
        name: bytes | None = None
        link: bytes | None = None
        size: int | None = None
        for _ in range(_MAX_EXTENSIONS):
            header = self._header()
            if header is not None and header.kind not in _EXTENSIONS:
                return self._member(
                    header,
                    header.name if name is None else name,
                    header.link if link is None else link,
                    header.size if size is None else size,
                )
            if header is None:
                if name is not None or link is not None or size is not None:
                    raise bad_archive("the archive ends after an extended header")
                return None
            if header.kind == b"x":
                records = parse_pax(self._extension(header))
                _check_pax(records)
                # An empty value takes the header's own.
                name, link = records.get(b"path") or name, records.get(b"linkpath") or link
                if text := records.get(b"size"):
                    size = parse_pax_size(text)
            elif header.kind == b"g":
                _check_global(parse_pax(self._extension(header)))
            elif header.kind == b"L":
                name = self._extension(header).rstrip(b"\0")
            else:
                link = self._extension(header).rstrip(b"\0")
        raise bad_archive(f"more than {_MAX_EXTENSIONS} extended headers follow each other")

    def _header(self) -> Header | None:
        self._fill(BLOCK_BYTES)
        at = self._at
        self._at = at + BLOCK_BYTES
        self._count(1)
        block = self._buffer[at : at + BLOCK_BYTES]
        if not block[0] and block == _ZERO_BLOCK:
            self._fill(BLOCK_BYTES)
            if self._buffer[self._at : self._at + BLOCK_BYTES] != _ZERO_BLOCK:
                raise bad_archive("a single block of zeros stands between headers")
            self._at += BLOCK_BYTES
            return None
        return parse_header(block)

    def _count(self, headers: int) -> None:
        """Names have their own count in the tree; this bounds headers that make no name."""
        self._members += headers
        if self._members > self._limits.entries * 4:
            raise IntegrityError(
                f"more than {self._limits.entries * 4} headers", code="too-many-entries", where=self._where, hint=_HINT
            )

    def _member(self, header: Header, name: bytes, link: bytes, size: int) -> Member:
        kind = header.kind
        text = _text(name)
        if kind in _FILES:
            # Old writers mark directories by the slash alone.
            if not text.endswith("/"):
                path = self._path(text)
                self._left = size
                self._padding = -size % BLOCK_BYTES
                return Member(path, "file", size, header.mode & 0o100 != 0, "", header.mode & 0o777)
            kind = b"5"
        found = _KINDS.get(kind)
        if kind in _SPECIAL and self._tells_special:
            self._left, self._padding = size, -size % BLOCK_BYTES
            return Member(self._path(text), "special", 0, False, "")
        if found is None:
            _refuse_kind(kind, text)
        if size:
            # Readers disagree about whether content follows.
            raise bad_archive(f"{shown(text)} is no file, but has a size")
        if found == "directory":
            return Member("" if text in _ROOT else self._path(text), found, 0, False, "")
        return Member(self._path(text), found, 0, False, _text(link))

    def _path(self, text: str) -> str:
        """The checked path; of a directory's many files only the last component is looked at."""
        parent, _, name = text.rpartition("/")
        if parent == self._parent and self._prefix and is_plain(name, self._limits):
            path = self._prefix + name
            if len(path) * 4 <= self._limits.path_bytes:
                return path
        parts = split_path(text, where=self._where, limits=self._limits)
        if name == parts[-1]:
            self._parent = parent
            self._prefix = "".join([f"{part}/" for part in parts[:-1]])
        return "/".join(parts)

    def _extension(self, header: Header) -> bytes:
        if header.size > self._limits.pax_bytes:
            raise bad_archive(f"an extended header is over the limit of {self._limits.pax_bytes} bytes")
        padded = header.size + -header.size % BLOCK_BYTES
        self._fill(padded)
        start = self._at
        self._at += padded
        return self._buffer[start : start + header.size]

    def _pieces(self) -> Iterator[bytes]:
        while self._left:
            if self._at >= len(self._buffer):
                self._buffer, self._at = self._more(), 0
            piece = self._buffer[self._at : self._at + self._left]
            if self._at == 0 and len(piece) == len(self._buffer):
                self._buffer = b""
            else:
                self._at += len(piece)
            self._left -= len(piece)
            yield piece
        self._skip()

    def _skip(self) -> None:
        """Passes over what is left of the present member."""
        left = self._left + self._padding
        self._left = self._padding = 0
        while left > len(self._buffer) - self._at:
            left -= len(self._buffer) - self._at
            self._buffer, self._at = self._more(), 0
        self._at += left

    def _fill(self, size: int) -> None:
        """Makes `size` bytes stand in the buffer from `_at` on."""
        have = len(self._buffer) - self._at
        if have >= size:
            return
        pieces = [self._buffer[self._at :]]
        while have < size:
            pieces.append(self._more())
            have += len(pieces[-1])
        self._buffer, self._at = b"".join(pieces), 0

    def _more(self) -> bytes:
        piece = self._stream.read(_CHUNK_BYTES)
        if not piece:
            raise IntegrityError("the archive is cut off", code="truncated", where=self._where, hint=_HINT)
        return piece


def _check_pax(records: dict[bytes, bytes]) -> None:
    for key in records:
        if key.startswith(b"GNU.sparse."):
            raise _sparse()


def _check_global(records: dict[bytes, bytes]) -> None:
    """Global records that readers would apply to all members, or not, are refused; others say nothing to us."""
    _check_pax(records)
    for key in (b"path", b"linkpath", b"size"):
        if key in records:
            raise bad_archive(f"a global pax header sets {key.decode()!r} for all members")


def _sparse() -> Unsupported:
    return Unsupported(
        "the archive has a sparse file",
        code="sparse-file",
        exit_status=65,
        hint="pack it again without --sparse",
    )


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise IntegrityError(
            f"the name {shown(raw.decode('utf-8', 'backslashreplace'))} is not valid UTF-8", code="bad-name", hint=_HINT
        ) from error


def _refuse_kind(kind: bytes, text: str) -> NoReturn:
    if kind == b"S":
        raise _sparse()
    if (special := _SPECIAL.get(kind)) is not None:
        raise IntegrityError(f"{shown(text)} is {special}", code="special-file", hint=_HINT)
    raise bad_archive(f"{shown(text)} is of the unknown kind {kind.decode('latin-1')!a}")


def _without(prefix: str, path: str, origin: str) -> str:
    if path.startswith(prefix):
        return path[len(prefix) :]
    raise IntegrityError(
        f"{shown(path)} is outside of {shown(prefix)}, the only directory of this archive",
        code="outside-prefix",
        where=origin,
        hint="nothing was unpacked; ask the publisher for an archive that matches its title",
    )
