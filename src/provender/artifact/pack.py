"""Files and directories as layers, so that the same input gives the same digest everywhere. Artifact layer.

A file is a layer as it is. A directory is a gzip-compressed tar with everything that differs between machines left out:
members sorted bytewise, one time, no owners, modes 644 and 755, plain ustar headers with pax records only where a value
does not fit, and compressed bytes that depend on no library's build (see `deflate`). Titles and the names in the tar
follow `oras push`, which can pull either.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Final

import msgspec

from provender.artifact.deflate import GzipWriter
from provender.artifact.names import check_links, shown, split_path
from provender.errors import Conflict, IntegrityError, InvalidReference, NotFound, Unsupported
from provender.oci import Descriptor, Digest
from provender.oci.annotations import TITLE, UNPACK, UNPACKED_DIGEST
from provender.oci.media_types import LAYER_TAR, LAYER_TAR_GZIP, is_valid
from provender.storage.hashing import hash_file
from provender.storage.rewindable import FileReader, HashedFile, Stamp
from provender.storage.ustar import END_OF_ARCHIVE, header, padding
from provender.storage.verify import CHUNK_BYTES
from provender.transfer.pool import Cancellation

if TYPE_CHECKING:
    from provender.oci.digest import Hasher

__all__ = ["Member", "PackedLayer", "Source", "file_layer", "pack", "pack_members"]

_DRIVE: Final = re.compile(r"[A-Za-z]:(?=[\\/])")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file or directory to publish: where it is, what it is called in the artifact, and its media type if given."""

    path: str
    title: str
    media_type: str | None = None

    @classmethod
    def parse(cls, text: str, *, titled: bool = True) -> Source:
        """The source that `PATH[:MEDIA_TYPE]` names; the title is the path as typed, made plain, or empty if unwanted.

        Raises InvalidReference for a path that leaves the working directory (code `unsafe-title`) and for what is no
        media type (code `invalid-media-type`).
        """
        path, media_type = _split(text)
        if media_type is not None:
            check_media_type(media_type, text)
        return cls(path=path, title=_title(path) if titled else "", media_type=media_type)


class PackedLayer(msgspec.Struct, frozen=True):
    """A layer ready to be pushed: its descriptor and the file that holds its bytes."""

    descriptor: Descriptor
    path: str
    stamp: Stamp | None = None
    """The file's, where its digest holds as long as it has this."""
    is_pushed: bool = False

    def open(self) -> FileReader:
        """The layer's bytes; not to be hashed again by whoever asks, if nobody touched the file."""
        if self.stamp is None:
            return FileReader(self.path)
        return HashedFile(self.path, self.descriptor.digest, self.stamp)


def pack(source: Source, scratch: str, *, epoch_s: int = 0, cancellation: Cancellation | None = None) -> PackedLayer:
    """The layer of a source. A directory is packed into a new file in the directory `scratch`.

    `epoch_s` is the time of every member of a directory (SOURCE_DATE_EPOCH). Raises NotFound, Unsupported (sockets,
    devices: code `special-file`; links that leave the directory: `bad-link`; names that cannot be unpacked everywhere:
    `bad-name`) or Conflict (code `changed-while-reading`).
    """
    cancellation = cancellation or Cancellation()
    try:
        status = os.stat(source.path)
    except FileNotFoundError as error:
        raise NotFound(f"no such file: {shown(source.path)}", code="no-such-file", hint="check the path") from error
    if stat.S_ISDIR(status.st_mode):
        return _pack_directory(source, scratch, epoch_s, cancellation)
    if not stat.S_ISREG(status.st_mode):
        raise _special(source.path)
    with open(source.path, "rb", buffering=0) as file:
        stamp = Stamp.of(file)
        is_settled = stamp.is_settled
        digest, size = hash_file(file, cancellation.check)
        is_settled = is_settled and Stamp.of(file) == stamp
    return file_layer(source, digest, size, stamp if is_settled else None)


def file_layer(
    source: Source, digest: Digest, size: int, stamp: Stamp | None = None, *, is_pushed: bool = False
) -> PackedLayer:
    """The layer that a file is whose content has this digest, as long as it has `stamp`."""
    descriptor = Descriptor(
        media_type=source.media_type or LAYER_TAR, digest=digest, size=size, annotations={TITLE: source.title}
    )
    return PackedLayer(descriptor, source.path, stamp, is_pushed)


def check_media_type(text: str, where: str) -> str:
    """`text`, if it is a media type that every registry takes (without parameters); else InvalidReference."""
    if is_valid(text):
        return text
    hint = "write type/subtype, such as text/plain or application/vnd.acme.policy.v1+json"
    if ";" in text:
        hint = f"registries refuse parameters; write {text.partition(';')[0].strip()}"
    raise InvalidReference(f"not a media type: {shown(text)}", code="invalid-media-type", where=where, hint=hint)


def _split(text: str) -> tuple[str, str | None]:
    drive = _DRIVE.match(text)
    start = drive.end() if drive else 0
    head, colon, tail = text[start:].rpartition(":")
    if not colon:
        path, media_type = text, None
    else:
        path, media_type = text[:start] + head, tail
    if not path or "\0" in path:
        raise InvalidReference(
            f"not a file: {shown(text)}", code="invalid-source", hint="write PATH or PATH:MEDIA_TYPE"
        )
    return path, media_type


def _title(path: str) -> str:
    text = path.replace(os.sep, "/")
    why = None
    if text.startswith("/") or _DRIVE.match(path):
        why = "is absolute, and would be unpacked to that place"
    elif ".." in text.split("/"):
        why = "leaves the working directory"
    if why:
        raise InvalidReference(
            f"the path {shown(path)} {why}",
            code="unsafe-title",
            hint="change to the directory that it is to be relative to (cd), and name it from there",
        )
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts:
        return "."
    try:
        return "/".join(split_path("/".join(parts), where=path))
    except IntegrityError as error:
        raise InvalidReference(
            error.message, code="unsafe-title", where=path, hint="rename it; such a name cannot be unpacked everywhere"
        ) from error


class Member(msgspec.Struct, frozen=True):
    """What goes into a tar under `name`, from `path`; `kind` is `0` (file), `2` (link) or `5` (directory)."""

    name: str
    path: str
    kind: bytes
    mode: int = 0o644
    size: int = 0
    link: str = ""


def _pack_directory(source: Source, scratch: str, epoch_s: int, cancellation: Cancellation) -> PackedLayer:
    try:
        members = _members(source)
    except IntegrityError as error:
        raise Unsupported(
            error.message,
            code=error.code,
            where=error.where,
            hint="leave it out or rename it; it could not be unpacked everywhere",
            exit_status=65,
        ) from error
    layer, unpacked = pack_members(
        members, scratch, source.media_type or LAYER_TAR_GZIP, epoch_s=epoch_s, cancellation=cancellation
    )
    notes = {UNPACKED_DIGEST: unpacked, UNPACK: "true", TITLE: source.title}
    return PackedLayer(msgspec.structs.replace(layer.descriptor, annotations=notes), layer.path)


def pack_members(
    members: Iterable[Member],
    scratch: str,
    media_type: str,
    *,
    epoch_s: int = 0,
    has_devices: bool = False,
    cancellation: Cancellation | None = None,
) -> tuple[PackedLayer, Digest]:
    """The gzip-compressed tar of `members` as they come, in a new file in `scratch`, and its digest before compression.

    With `has_devices` headers spell the device numbers, which are zero, as Go's do.
    """
    import tempfile

    cancellation = cancellation or Cancellation()
    fd, path = tempfile.mkstemp(dir=scratch, prefix="layer-", suffix=".tar.gz")
    with os.fdopen(fd, "wb") as file:
        packed = _HashedFile(file)
        unpacked = hashlib.sha256()
        gzip = GzipWriter(packed.write)

        def write(data: bytes) -> None:
            cancellation.check()
            unpacked.update(data)
            gzip.write(data)

        for member in members:
            write(
                header(
                    member.name, member.kind, member.mode, member.size, member.link, epoch_s, has_devices=has_devices
                )
            )
            if member.kind == b"0":
                _write_file(member, write)
        write(END_OF_ARCHIVE)
        gzip.close()
    descriptor = Descriptor(
        media_type=media_type, digest=Digest(f"sha256:{packed.sha256.hexdigest()}"), size=packed.size
    )
    return PackedLayer(descriptor, path), Digest(f"sha256:{unpacked.hexdigest()}")


def _members(source: Source) -> list[Member]:
    """All members, sorted bytewise by path component, so that a directory stands before what it holds."""
    prefix = () if source.title == "." else tuple(source.title.split("/"))
    found: list[tuple[tuple[str, ...], Member]] = []
    if prefix:
        found.append((prefix, Member(f"{source.title}/", source.path, b"5", 0o755)))
    links: dict[str, str] = {}
    for parts, path, status in _walk(source.path, ()):
        name = "/".join((*prefix, *parts))
        split_path(name, where=path)
        if stat.S_ISLNK(status.st_mode):
            links["/".join(parts)] = os.readlink(path)
            member = Member(name, path, b"2", 0o777, link=links["/".join(parts)])
        elif stat.S_ISDIR(status.st_mode):
            member = Member(f"{name}/", path, b"5", 0o755)
        elif stat.S_ISREG(status.st_mode):
            mode = 0o755 if status.st_mode & 0o100 else 0o644
            member = Member(name, path, b"0", mode, size=status.st_size)
        else:
            raise _special(path)
        found.append(((*prefix, *parts), member))
    check_links(links, where=source.path)
    found.sort(key=lambda item: [part.encode() for part in item[0]])
    return [member for _, member in found]


def _walk(directory: str, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, os.stat_result]]:
    with os.scandir(directory) as listing:
        children = list(listing)
    for child in children:
        status = child.stat(follow_symlinks=False)
        here = (*parts, child.name)
        yield here, child.path, status
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(child.path, here)


def _write_file(member: Member, write: Callable[[bytes], None]) -> None:
    left = member.size
    # A file that became a link since it was listed is not followed.
    fd = os.open(member.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(fd, "rb") as file:
        while left and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            write(chunk)
        if left or file.read(1):
            raise Conflict(
                f"{shown(member.path)} changed while it was read",
                code="changed-while-reading",
                hint="run again when nothing writes to the directory",
            )
    write(padding(member.size))


class _HashedFile:
    """A file that counts and hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256: Hasher = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.sha256.update(data)
        self.size += len(data)


def _special(path: str) -> Unsupported:
    return Unsupported(
        f"{shown(path)} is neither a file, a directory nor a symbolic link",
        code="special-file",
        hint="leave it out",
        exit_status=66,
    )
