"""The tree that layers unpack into: one table of names for all of them, one root descriptor, and its digest.

Artifact layer. Whatever writes into a tree (tar members, raw layers by title) goes through `TreeWriter`, which alone
decides which names may stand beside each other.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Final, Literal, Protocol, Self

from provender.artifact.claim import UNHASHED, Claim, compare, conflict, entry_of
from provender.artifact.entry import Entry, SmallFile, tree_digest
from provender.artifact.names import check_link, check_target, fold_text, shown
from provender.artifact.rooted import RootedDirectory
from provender.artifact.scribe import Scribe
from provender.errors import IntegrityError, ProvenderError
from provender.storage.limits import DEFAULT_LIMITS, Limits

__all__ = ["Content", "Entry", "Reader", "SmallFile", "TreeWriter", "tree_digest"]

_CHUNK_BYTES: Final = 1 << 20
_MODES: Final = {False: 0o644, True: 0o755}


class Reader(Protocol):
    """Anything to read from; `b""` is the end."""

    def read(self, size: int = -1, /) -> bytes: ...


Content = bytes | Iterable[bytes] | Reader


class TreeWriter:
    """Writes a tree into `root`, an existing empty directory; several threads may write at once.

    `origin` names the layer that a name comes from. Within one origin a name comes once (directories may repeat); two
    origins may give the same path only the same content. `finish` makes the links and gives the entries; without it the
    directory is to be thrown away. After any error too: nothing is taken back. Once more than
    `scribe_after` small files came, a second process creates some of them; what it fails at is raised by `finish`.
    Without `is_hashed`, which only one origin may go without, entries tell no content but what was known anyway.
    """

    def __init__(
        self, root: str, limits: Limits = DEFAULT_LIMITS, *, scribe_after: int | None = None, is_hashed: bool = True
    ) -> None:
        self._scribe_after = scribe_after
        self._is_hashed = is_hashed
        self._scribe: Scribe | None = None
        self._small_files = 0
        self._limits = limits
        self._where = root
        self._disk = RootedDirectory(root)
        self._lock = threading.Lock()
        self._directories: dict[str, str] = {"": ""}
        self._claims: dict[str, Claim] = {}
        self._repeated: dict[tuple[str, str], Claim] = {}
        self._adopted: dict[str, Callable[[int, str], None]] = {}
        self._folded: dict[str, str] = {}
        self._names = 0
        self._name_bytes = 0
        self._bytes = 0

    def directory(self, parts: tuple[str, ...], *, origin: str) -> None:
        """Creates a directory with its parents; one that is there is fine."""
        with self._lock:
            self._make("/".join(parts), origin)

    def file(
        self,
        parts: tuple[str, ...],
        content: Content,
        *,
        executable: bool,
        size: int | None = None,
        sha256: str = "",
        origin: str,
    ) -> None:
        """Writes and hashes a file. With `size` the content has to have exactly that many bytes.

        `sha256` says that `content` verifies itself and has this one: hashing it again would take a third of a pull.
        """
        self.add_file("/".join(parts), content, executable=executable, size=size, sha256=sha256, origin=origin)

    def adopt(
        self,
        parts: tuple[str, ...],
        content: Iterable[bytes],
        take: Callable[[int, str], None],
        *,
        size: int,
        sha256: str,
        origin: str,
    ) -> None:
        """As `file`, but for content that is in a file of this device already: `finish` lets `take` move it here.

        `take` gets an open directory and a name in it; it is not called for what another origin has written already.
        """
        path = "/".join(parts)
        with self._lock:
            self._spend(size, path, 0)
            claim, is_first = self._claim(path, path.rpartition("/")[0], "f", origin)
            if is_first:
                self._adopted[path] = take
        self._take(claim, content, size, sha256, None)

    @property
    def device(self) -> int:
        """The file system that the tree is on."""
        return os.fstat(self._disk.root).st_dev

    def add_file(
        self, path: str, content: Content, *, executable: bool, size: int | None, sha256: str = "", origin: str
    ) -> None:
        """`file` for a path that is joined already: the way of archives, where the time per file counts."""
        parent, _, name = path.rpartition("/")
        with self._lock:
            if size is not None:
                self._spend(size, path, 0)
            claim, is_first = self._claim(path, parent, "f", origin)
            claim.executable = executable
            directory = self._disk.acquire(parent) if is_first else None
        if directory is None:
            self._take(claim, content, size, sha256, None)
            return
        try:
            fd = self._disk.create(directory, name, _MODES[executable])
            try:
                self._take(claim, content, size, sha256, fd)
            finally:
                os.close(fd)
        finally:
            with self._lock:
                self._disk.release(directory)

    def add_files(self, files: Sequence[SmallFile], *, origin: str) -> None:
        """`add_file` for small files of one directory; they may be written after the return."""
        parent = files[0].path.rpartition("/")[0]
        with self._lock:
            claims, is_new = self._claim_all(files, parent, origin)
            scribe = self._called_scribe(len(files))
        cut = len(parent) + 1
        if scribe is not None and is_new and parent:
            told = [(file.path[cut:], _MODES[file.executable], file.content) for file in files]
            if scribe.offer(parent, told, [claim.written for claim in claims]):
                return
        self._write_files(parent, files, claims)

    def _called_scribe(self, files: int) -> Scribe | None:
        self._small_files += files
        if self._scribe is None and self._scribe_after is not None and self._small_files > self._scribe_after:
            self._scribe = Scribe(self._disk.root, is_hashing=self._is_hashed)
        return self._scribe

    def _write_files(self, parent: str, files: Sequence[SmallFile], claims: Sequence[Claim]) -> None:
        with self._lock:
            directory = self._disk.acquire(parent)
        cut = len(parent) + 1 if parent else 0
        try:
            for file, claim in zip(files, claims, strict=True):
                fd = None
                if self._claims[file.path] is claim:
                    fd = self._disk.create(directory, file.path[cut:], _MODES[file.executable])
                try:
                    self._take(claim, file.content, len(file.content), "", fd)
                finally:
                    if fd is not None:
                        os.close(fd)
        finally:
            with self._lock:
                self._disk.release(directory)

    def symlink(self, parts: tuple[str, ...], target: str, *, origin: str) -> None:
        """Notes a symbolic link, which is checked and made by `finish`."""
        check_target(parts, target, where=origin, limits=self._limits)
        self._note(parts, "l", target, origin)

    def hardlink(self, parts: tuple[str, ...], target_parts: tuple[str, ...], *, origin: str) -> None:
        """Notes a second name for a file of this tree; `finish` makes it a copy, so that the two stay apart."""
        self._note(parts, "h", "/".join(target_parts), origin)

    def digest_of(self, path: str) -> str:
        """The sha256 of a file that was written to its end; empty for anything else."""
        with self._lock:
            claim = self._claims.get(path)
        return claim.content if claim is not None and claim.kind == "f" and claim.content != UNHASHED else ""

    def finish(self) -> tuple[Entry, ...]:
        """Resolves hard links, compares what several origins wrote, makes the links; the entries sorted by path."""
        if self._scribe is not None:
            try:
                self._scribe.finish()
            except OSError as error:
                raise self._disk.explained(error.filename or "", error) from error
        with self._lock:
            for claim in (*self._claims.values(), *self._repeated.values()):
                if not claim.content:
                    raise self._refused(f"{shown(claim.path)} was not written to its end", "unfinished", claim.origin)
            copies = self._resolve()
            for (path, _), claim in self._repeated.items():
                compare(self._claims[path], claim)
            links = {claim.path: claim for claim in self._claims.values() if claim.kind == "l"}
            targets = {fold_text(path): claim.content for path, claim in links.items()}
            for path, claim in links.items():
                parts = tuple(path.split("/"))
                check_link(parts, claim.content, where=claim.origin, links=targets, limits=self._limits)
            for path, take in self._adopted.items():
                self._move_in(path, take)
            for path, source in copies.items():
                self._copy(source, path)
            for path, claim in links.items():
                self._link(path, claim.content)
            self._disk.close()
            return tuple([entry_of(claim) for _, claim in sorted(self._claims.items())])

    def close(self) -> None:
        """Lets go of every descriptor; for a tree that is given up."""
        if self._scribe is not None:
            self._scribe.stop()
        with self._lock:
            self._disk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    # The table of names; all of these are called with the lock held.

    def _claim(self, path: str, parent: str, kind: Literal["f", "l", "h"], origin: str) -> tuple[Claim, bool]:
        """The claim of `origin` to `path`, and True if it is the first to have it."""
        claim = Claim(path, kind, origin)
        first = self._claims.get(path)
        if first is not None:
            if first.origin == origin or (path, origin) in self._repeated:
                raise self._refused(f"{shown(path)} comes twice in one archive", "duplicate-name", origin)
            self._count(path, origin=origin)
            self._repeated[path, origin] = claim
            return claim, False
        if path in self._directories:
            raise self._clash(path, self._directories[path], origin, "a directory and something else")
        if parent not in self._directories:
            self._make(parent, origin)
        self._enter(path, origin)
        self._claims[path] = claim
        return claim, True

    def _claim_all(self, files: Sequence[SmallFile], parent: str, origin: str) -> tuple[list[Claim], bool]:
        """The claims of `origin` to new files of one directory, and True if each is the first to have its path.

        What `_spend` and `_claim` would do for each, in a third of the time; what is odd is left to them.
        """
        if parent not in self._directories:
            self._make(parent, origin)
        claims: list[Claim] = []
        is_new = True
        known, folded, largest, total, names = self._claims, self._folded, self._limits.file_bytes, 0, list[str]()
        for path, content, executable in files:
            size = len(content)
            if (
                path not in known
                and path not in self._directories
                and folded.setdefault(fold_text(path), path) == path
                and size <= largest
            ):
                claim = known[path] = Claim(path, "f", origin, executable, "", size)
                total += size
                names.append(path)
            else:
                self._spend(size, path, 0)
                claim, is_first = self._claim(path, parent, "f", origin)
                claim.executable, claim.size = executable, size
                is_new = is_new and is_first
            claims.append(claim)
        self._spend(total, parent, -total)
        self._count(*names, origin=origin)
        return claims, is_new

    def _make(self, path: str, origin: str) -> None:
        if path in self._directories:
            return
        parent = path.rpartition("/")[0]
        if parent not in self._directories:
            self._make(parent, origin)
        if (found := self._claims.get(path)) is not None:
            if found.kind == "l":
                raise self._refused(f"{shown(path)} is a symbolic link and a directory", "through-link", origin)
            raise self._clash(path, found.origin, origin, "a file and a directory")
        self._enter(path, origin)
        self._directories[path] = origin
        self._disk.make_directory(path)

    def _enter(self, path: str, origin: str) -> None:
        self._count(path, origin=origin)
        known = self._folded.setdefault(fold_text(path), path)
        if known != path:
            raise self._refused(
                f"{shown(known)} and {shown(path)} are one name where case or Unicode form does not count",
                "case-collision",
                origin,
            )

    def _count(self, *paths: str, origin: str) -> None:
        self._names += len(paths)
        self._name_bytes += sum(map(len, paths))
        if self._names > self._limits.entries:
            raise self._refused(f"more than {self._limits.entries} entries", "too-many-entries", origin)
        if self._name_bytes > self._limits.total_name_bytes:
            raise self._refused(
                f"names and link targets of more than {self._limits.total_name_bytes} bytes", "too-many-entries", origin
            )

    def _note(self, parts: tuple[str, ...], kind: Literal["l", "h"], target: str, origin: str) -> None:
        with self._lock:
            claim, _ = self._claim("/".join(parts), "/".join(parts[:-1]), kind, origin)
            self._name_bytes += len(target)
            claim.content = target

    def _spend(self, size: int, path: str, before: int) -> None:
        """Counts `size` bytes more for `path`, which had `before`."""
        self._bytes += size
        if before + size > self._limits.file_bytes:
            raise self._refused(f"{shown(path)} is over the limit of {self._limits.file_bytes} bytes", "too-large", "")
        if self._bytes > self._limits.total_bytes:
            raise self._refused(f"the content is over the limit of {self._limits.total_bytes} bytes", "too-large", "")

    # Content.

    def _take(self, claim: Claim, content: Content, size: int | None, sha256: str, fd: int | None) -> None:
        """Hashes `content`, unless its `sha256` is known or nobody asks, and, with `fd`, writes it.

        What another origin has written already is only hashed.
        """
        known = sha256 if self._is_hashed or sha256 else UNHASHED
        if isinstance(content, bytes):
            total = len(content)
            if size is None:
                with self._lock:
                    self._spend(total, claim.path, 0)
            if fd is not None and total:
                _write(fd, content)
            digest = known or hashlib.sha256(content).hexdigest()
        else:
            total = 0
            hasher = hashlib.sha256()
            for piece in _pieces(content):
                if size is None:
                    with self._lock:
                        self._spend(len(piece), claim.path, total)
                total += len(piece)
                if size is not None and total > size:
                    break
                if fd is not None:
                    _write(fd, piece)
                if not known:
                    hasher.update(piece)
            digest = known or hasher.hexdigest()
        if size is not None and total != size:
            raise self._refused(
                f"{shown(claim.path)} does not have the {size} bytes that were declared", "size-mismatch", claim.origin
            )
        claim.size = total
        claim.content = digest

    # Finishing.

    def _resolve(self) -> dict[str, Claim]:
        """Turns every hard link into a file that equals its target; which paths are to be copied from which file."""
        copies: dict[str, Claim] = {}
        copied = 0
        pending = [claim for claim in (*self._claims.values(), *self._repeated.values()) if claim.kind == "h"]
        sources = [(claim, self._source(claim)) for claim in pending]
        for claim, source in sources:
            if self._claims[claim.path] is claim:
                copied += source.size
                if copied > self._limits.link_bytes:
                    message = f"hard links ask for copies of more than {self._limits.link_bytes} bytes"
                    raise self._refused(message, "too-large", claim.origin)
                self._spend(source.size, claim.path, 0)
                copies[claim.path] = source
        for claim, source in sources:
            claim.kind, claim.content = "f", source.content
            claim.size, claim.executable = source.size, source.executable
        return copies

    def _source(self, claim: Claim) -> Claim:
        """The file that a hard link names, through other hard links."""
        # A repeated claim may well name its own path's first one, by way of others.
        seen = {claim.path} if self._claims[claim.path] is claim else set()
        found: Claim | None = claim
        while found is not None and found.kind == "h":
            found = self._claims.get(found.content)
            if found is not None and found.path in seen:
                found = None
            elif found is not None:
                seen.add(found.path)
        if found is None or found.kind != "f":
            raise self._refused(
                f"the hard link {shown(claim.path)} to {shown(claim.content)} does not name a file of this artifact",
                "bad-link",
                claim.origin,
            )
        return found

    def _copy(self, source: Claim, path: str) -> None:
        from_parent, _, from_name = source.path.rpartition("/")
        to_parent, _, to_name = path.rpartition("/")
        from_directory, to_directory = self._disk.acquire(from_parent), self._disk.acquire(to_parent)
        try:
            reading = self._disk.open(from_directory, from_name)
            try:
                writing = self._disk.create(to_directory, to_name, _MODES[source.executable])
                try:
                    while piece := os.read(reading, _CHUNK_BYTES):
                        _write(writing, piece)
                finally:
                    os.close(writing)
            finally:
                os.close(reading)
        finally:
            self._disk.release(from_directory)
            self._disk.release(to_directory)

    def _move_in(self, path: str, take: Callable[[int, str], None]) -> None:
        parent, _, name = path.rpartition("/")
        directory = self._disk.acquire(parent)
        try:
            take(directory.fd, name)
        except OSError as error:
            raise self._disk.explained(path, error) from error
        finally:
            self._disk.release(directory)

    def _link(self, path: str, target: str) -> None:
        parent, _, name = path.rpartition("/")
        directory = self._disk.acquire(parent)
        try:
            self._disk.link(directory, name, target)
        finally:
            self._disk.release(directory)

    def _clash(self, path: str, first: str, second: str, what: str) -> ProvenderError:
        if first == second:
            return self._refused(f"{shown(path)} is {what}", "kind-clash", second)
        return conflict(path, first, second)

    def _refused(self, message: str, code: str, origin: str) -> IntegrityError:
        return IntegrityError(
            message,
            code=code,
            where=origin or self._where,
            hint="nothing was unpacked; the artifact is hostile or broken",
        )


def _pieces(content: Iterable[bytes] | Reader) -> Iterator[bytes]:
    # An open file is both; by lines is not how it is to be read.
    # (Not `isinstance`: against a protocol that takes longer than to write a small file.)
    if hasattr(content, "read"):
        while piece := content.read(_CHUNK_BYTES):
            yield piece
        return
    yield from content


def _write(fd: int, piece: bytes) -> None:
    done = os.write(fd, piece)
    while done < len(piece):
        done += os.write(fd, memoryview(piece)[done:])
