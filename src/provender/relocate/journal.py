"""Journal: what of a plan is done, line by line on disk, so that a run that was killed is gone on with.

A line is written after the destination has acknowledged; a line that was cut off by a kill is not there. Uploads of
large blobs are noted as they go, so that the next run goes on with them too. The journal is of one plan, by the digest
of the plan's file; that of a plan that was carried out to its end gives way to that of the next plan.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec

from provender.errors import Conflict, InvalidDocument
from provender.oci import Digest
from provender.oci.digest import decode_digest
from provender.storage.abilities import UploadNote, UploadNotes
from provender.storage.files import FileLock

__all__ = ["Entry", "Journal"]

_MAX_BYTES: Final = 4 << 30
_MAX_LINE: Final = 64 << 10
_MAX_LOCATION: Final = 2048


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"destination": "to"}):
    """A node that is at a destination: the repository, what it is, and what became of it."""

    destination: str
    digest: Digest
    is_document: bool = False
    action: str = "copied"
    sent_bytes: int = 0


class _Upload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"destination": "to"}):
    """How far the upload of a blob has come; without a location it is no longer open."""

    destination: str
    upload: Digest
    location: str = ""
    offset: int = 0


class _Line(msgspec.Struct, frozen=True, kw_only=True, rename={"destination": "to"}):
    """A line as it is read: an entry, or an upload."""

    destination: str
    digest: Digest | None = None
    is_document: bool = False
    action: str = "copied"
    sent_bytes: int = 0
    upload: Digest | None = None
    location: str = ""
    offset: int = 0
    is_end: bool = False


_END: Final = b'{"to":"","is_end":true}\n'


class _Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    plan: str
    version: int = 1


class Journal:
    """The journal at `path` for the plan with this digest; one process at a time. Safe from several threads.

    Raises Conflict (`other-plan`) if the file is the journal of another plan, Unavailable (`locked`) if another run
    has it.
    """

    def __init__(self, path: Path, plan: Digest) -> None:
        self._path = path
        self._plan = plan
        self._lock = threading.Lock()
        self._done: dict[tuple[str, Digest, bool], Entry] = {}
        self._earlier: frozenset[tuple[str, Digest, bool]] = frozenset()
        self._uploads: dict[tuple[str, Digest], UploadNote] = {}
        self._was_ended = False
        self._held = FileLock(
            path.with_name(f"{path.name}.lock"), timeout_s=0, what=f"the journal {path.name}", remove=True
        )

    @property
    def known(self) -> int:
        """How many nodes earlier runs and this one have finished."""
        return len(self._done)

    @property
    def was_ended(self) -> bool:
        """True if an earlier run was the last one that was needed."""
        return self._was_ended

    def has(self, destination: str, digest: Digest, *, is_document: bool) -> bool:
        """True if the node was finished at this destination."""
        return (destination, digest, is_document) in self._done

    def is_earlier(self, destination: str, digest: Digest, *, is_document: bool) -> bool:
        """True if it was an earlier run that finished it: a registry may have collected it since, as garbage."""
        return (destination, digest, is_document) in self._earlier

    def add(self, entry: Entry) -> None:
        """Note a finished node."""
        line = msgspec.json.encode(entry, enc_hook=str) + b"\n"
        with self._lock:
            self._done[entry.destination, entry.digest, entry.is_document] = entry
            self._append(line)

    def end(self) -> None:
        """Note that everything is done."""
        with self._lock:
            self._append(_END)

    def uploads(self, destination: str) -> UploadNotes:
        """Where uploads to a destination are noted."""
        return _Uploads(self, destination)

    def upload(self, destination: str, digest: Digest) -> UploadNote | None:
        """An upload that is not done."""
        return self._uploads.get((destination, digest))

    def note(self, destination: str, digest: Digest, upload: UploadNote | None) -> None:
        """Note how far an upload has come; None when it ended."""
        if upload is not None and len(upload.location) > _MAX_LOCATION:
            return
        line = _Upload(destination=destination, upload=digest)
        if upload is not None:
            line = msgspec.structs.replace(line, location=upload.location, offset=upload.offset)
        with self._lock:
            self._remember(line)
            self._append(msgspec.json.encode(line, enc_hook=str) + b"\n")

    def _append(self, line: bytes) -> None:
        """Write a line: a kill leaves all of it, nothing, or a torn end that is cut off again.

        A full disk takes a part of it and says nothing before it is asked for the rest.
        """
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None

    def _remember(self, line: _Upload) -> None:
        if line.location:
            self._uploads[line.destination, line.upload] = UploadNote(line.location, line.offset)
        else:
            self._uploads.pop((line.destination, line.upload), None)

    def entries(self) -> tuple[Entry, ...]:
        """Everything that is noted, in the order of writing."""
        return tuple(self._done.values())

    def __enter__(self) -> Self:
        self._held.__enter__()
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._read()
            except BaseException:
                os.close(self._fd)
                raise
        except BaseException:
            self._held.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        try:
            os.close(self._fd)
        finally:
            self._held.__exit__(kind, error, trace)

    def _read(self) -> None:
        """Take in what is there; what a kill tore off at the end is cut away, for the next line to begin well."""
        whole = 0
        header = msgspec.json.encode(_Header(plan=str(self._plan))) + b"\n"
        with open(os.dup(self._fd), "rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b"")):
                if not line.endswith(b"\n"):
                    # Torn off only where the file ends; and a file of somebody else is never cut.
                    if file.read(1) or not (number or header.startswith(line)):
                        raise self._no_journal(number + 1)
                    break
                if whole + len(line) > _MAX_BYTES:
                    raise InvalidDocument(f"the journal is over {_MAX_BYTES} bytes", code="journal-too-large")
                if number == 0:
                    if not self._is_of_plan(line):
                        if not self._has_ended(file):
                            raise self._of_another_plan()
                        break
                else:
                    self._take(line, number + 1)
                    self._was_ended = line == _END
                whole += len(line)
        self._earlier = frozenset(self._done)
        os.ftruncate(self._fd, whole)
        os.lseek(self._fd, 0, os.SEEK_END)
        if whole == 0:
            self._append(header)

    def _is_of_plan(self, line: bytes) -> bool:
        try:
            header = msgspec.json.decode(line, type=_Header)
        except msgspec.DecodeError as error:
            raise self._no_journal() from error
        return header.plan == self._plan and header.version == 1

    def _has_ended(self, file: BinaryIO) -> bool:
        """True if the last thing that the journal says is that everything is done."""
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(_END), 0))
        return file.read() == _END

    def _of_another_plan(self) -> Conflict:
        return Conflict(
            f"{self._path.name} is the journal of another plan, which was not carried out to its end",
            code="other-plan",
            where=str(self._path),
            hint="apply that plan to its end, or delete its journal: content that is there is not sent again",
        )

    def _take(self, line: bytes, number: int) -> None:
        try:
            read = msgspec.json.decode(line, type=_Line, dec_hook=decode_digest)
        except msgspec.DecodeError as error:
            raise self._no_journal(number) from error
        if read.is_end:
            return
        if read.digest is not None:
            self._done[read.destination, read.digest, read.is_document] = Entry(
                destination=read.destination,
                digest=read.digest,
                is_document=read.is_document,
                action=read.action,
                sent_bytes=read.sent_bytes,
            )
        elif read.upload is not None and read.offset >= 0:
            self._remember(
                _Upload(destination=read.destination, upload=read.upload, location=read.location, offset=read.offset)
            )
        else:
            raise self._no_journal(number)

    def _no_journal(self, number: int = 1) -> InvalidDocument:
        return InvalidDocument(
            f"{self._path.name} is not a journal of provender",
            code="invalid-journal",
            where=f"{self._path}:{number}",
            hint="name another file with --journal"
            + (", or delete this one: content that is there is not sent again" if number > 1 else ""),
        )


class _Uploads:
    """The notes of the uploads to one destination."""

    def __init__(self, journal: Journal, destination: str) -> None:
        self._journal = journal
        self._destination = destination

    def opened(self, digest: Digest, location: str, offset: int) -> None:
        self._journal.note(self._destination, digest, UploadNote(location, offset))

    def closed(self, digest: Digest) -> None:
        self._journal.note(self._destination, digest, None)

    def known(self, digest: Digest) -> UploadNote | None:
        return self._journal.upload(self._destination, digest)
