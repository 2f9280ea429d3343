"""Clones: one bare repository in the cache for each address, shared by all projects, dependencies and processes.

Storage layer. A clone has single commits without their history, and, where only a part of a tree is wanted, without the
files that nobody asked for.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from provender.errors import NotFound, Unavailable
from provender.storage.files import FileLock, write_atomically
from provender.storage.git.command import GitCommand, GitFailed, failed
from provender.storage.git.objects import GitEntry, ObjectReader
from provender.storage.registry.redact import shown_url

__all__ = ["Clone", "GitClones", "Refs"]

# Said and not found: a user may have git refuse bare repositories that it comes across.
_HERE: Final = "--git-dir=."
_OBJECT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_REFS: Final = 500_000
_MAX_CONFIG: Final = 1 << 16
_MAX_ENTRIES: Final = 1_000_000
_CONFIG: Final = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
_PROMISOR: Final = "\tpromisor = true\n"
_SYMREF: Final = re.compile(r"ref: refs/heads/(\S+)\tHEAD")


class Refs(msgspec.Struct, frozen=True):
    """The branches and tags of a repository, each with the object it leads to; tags with the commit behind them."""

    branches: dict[str, str]
    tags: dict[str, str]


class GitClones:
    """The clones below `root`, which is made when one is."""

    def __init__(self, root: Path, *, wait_s: float = 600.0) -> None:
        self._root = root
        self._wait_s = wait_s

    def look(self, url: str, git: GitCommand) -> Clone:
        """The clone of `url`, only to read what it has; git lets others add to it meanwhile."""
        return Clone(str(self._place(url)), url, git)

    @contextmanager
    def open(self, url: str, git: GitCommand) -> Iterator[Clone]:
        """The clone of `url`, for this thread and process alone; others wait. To be held for fetching only."""
        place = self._place(url)
        self._root.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock"), timeout_s=self._wait_s, what="the clone of a Git repository"):
            clone = Clone(str(place), url, git)
            if not clone.is_there:
                clone.begin()
            yield clone

    def _place(self, url: str) -> Path:
        return self._root / f"{hashlib.sha256(url.encode()).hexdigest()}.git"


class Clone:
    """One bare repository. Every error of git has the address in its `where`."""

    def __init__(self, path: str, url: str, git: GitCommand) -> None:
        self.path = path
        self._url = url
        self._git = git
        self._is_empty = False

    @property
    def is_there(self) -> bool:
        """True if the directory is a repository already."""
        return os.path.isfile(os.path.join(self.path, "HEAD"))

    def begin(self) -> None:
        """Make the directory an empty repository (gitrepository-layout(5)): what `git init` would, without a process.

        The repository's `HEAD` comes last: it is what makes the directory one.
        """
        for folder in ("objects", "refs"):
            os.makedirs(os.path.join(self.path, folder), exist_ok=True)
        place = Path(self.path)
        content = f"{_CONFIG}{self._remote}".encode("utf-8", "surrogateescape")
        write_atomically(place / "config", content, durable=False)
        write_atomically(place / "HEAD", b"ref: refs/heads/main\n", durable=False)
        self._is_empty = True

    def refs(self) -> Refs:
        """What the repository has now. Raises NotFound or GitFailed if it cannot be asked."""
        out = self._run("ls-remote", "--heads", "--tags", "--", self._url, is_online=True)
        return _refs_of(out)

    def known_refs(self) -> Refs:
        """The branches and tags that were fetched into the clone."""
        return _refs_of(self._attempt("show-ref", "--heads", "--tags", "--dereference")[1])

    def head(self) -> tuple[str, str | None]:
        """The newest commit of the default branch, and its name if the server tells it."""
        out = self._run("ls-remote", "--symref", "--", self._url, "HEAD", is_online=True).decode("utf-8", "replace")
        found = _SYMREF.search(out)
        for line in out.splitlines():
            name, _, ref = line.partition("\t")
            if ref == "HEAD" and _OBJECT.fullmatch(name) is not None:
                return name, found[1] if found else None
        raise NotFound(
            "the repository has no default branch", code="no-such-ref", where=self._shown, hint="name a branch or a tag"
        )

    def bring(self, commit: str, *, is_partial: bool) -> None:
        """Have a commit with its trees; with its files as well, unless `is_partial`. NotFound if there is none such."""
        if not self._is_empty and self.has(commit):
            return
        self._is_empty = False
        self.point()
        was_partial = self.is_partial
        how = ("--filter=blob:none",) if is_partial else ()
        status, said = self._fetch("--depth=1", *how, given=(commit,))
        if status == 0:
            return
        # A server that gives no single commits, or no shallow history, gives everything. One that only has files to
        # give must not be asked through a partial clone: git would ask it for ever.
        if is_partial and not was_partial:
            self._attempt("config", "--local", "--remove-section", "remote.origin")
            self._attempt("config", "--local", "--unset", "extensions.partialClone")
            self.point()
        status, said = self._fetch("--force", refspecs=("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"))
        if status:
            raise failed(("fetch",), status, said).at(self._shown)
        if not self.has(commit):
            raise NotFound(
                f"the repository has no commit {commit}",
                code="no-such-commit",
                where=self._shown,
                hint="it may have been rewritten; correct the commit, or run 'provender update' for this dependency",
            )

    def entries(self, commit: str) -> tuple[GitEntry, ...]:
        """Every file, link and submodule of the commit's tree."""
        out = self._run("ls-tree", "-r", "-z", "--full-tree", commit)
        found = []
        for line in out.split(b"\0"):
            head, _, path = line.partition(b"\t")
            if not head:
                continue
            mode, _, name = head.decode("ascii", "replace").split(" ", 2)
            found.append(GitEntry(path, mode, name))
        if len(found) > _MAX_ENTRIES:
            raise Unavailable(
                f"the tree has more than {_MAX_ENTRIES} entries",
                code="too-many-entries",
                where=self._shown,
                retryable=False,
            )
        return tuple(found)

    def complete(self, commit: str, objects: Iterable[str]) -> None:
        """Have all of these objects, which are files of the commit: what lacks comes in one fetch."""
        if not self.is_partial:
            return
        wanted = set(objects)
        listed = self._run("rev-list", "--objects", "--no-walk", "--missing=print", commit)
        missing = {line[1:].decode("ascii", "replace") for line in listed.split(b"\n") if line.startswith(b"?")}
        lacking = sorted(wanted & missing)
        if not lacking:
            return
        self.point()
        status, said = self._fetch("--filter=blob:none", given=lacking)
        if status:
            raise failed(("fetch",), status, said).at(self._shown)

    def config_of(self, blob: str) -> list[tuple[str, str]]:
        """The settings in a blob that is a configuration file, such as `.gitmodules`; InvalidDocument if it is none."""
        out = self._run("config", "--no-includes", "--blob", blob, "--null", "--list").decode("utf-8", "replace")
        pairs = (entry.partition("\n") for entry in out.split("\0") if entry)
        return [(key, value) for key, _, value in pairs]

    @contextmanager
    def reader(self) -> Iterator[ObjectReader]:
        """Reads objects by name, one after the other."""
        with ObjectReader.start(self._git, self.path) as reader:
            yield reader

    @contextmanager
    def smudged(self, pointer: bytes) -> Iterator[IO[bytes]]:
        """What `git lfs` makes of a pointer, as an open file; GitFailed without it, or if it cannot."""
        self.point()
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
            source.write(pointer)
            source.seek(0)
            status = self._git.wait(
                _HERE, "lfs", "smudge", cwd=self.path, is_online=True, stdin=source, stdout=out, stderr=said
            )
            if status:
                said.seek(0)
                raise failed(("lfs",), status, said.read(1 << 16).decode("utf-8", "replace")).at(self._shown)
            out.seek(0)
            yield out

    @property
    def _shown(self) -> str:
        return shown_url(self._url) if "://" in self._url else self._url

    def has(self, commit: str) -> bool:
        """True if the commit is here, with its trees."""
        return self._attempt("cat-file", "-e", f"{commit}^{{tree}}")[0] == 0

    @property
    def is_partial(self) -> bool:
        """True if files may lack that nobody asked for."""
        return _PROMISOR in self._config()

    def point(self) -> None:
        """Have the address in the configuration: a partial clone needs a remote by name."""
        if self._remote not in self._config() and f"\turl = {self._url}\n" not in self._config():
            self._run("config", "--local", "remote.origin.url", self._url)

    @property
    def _remote(self) -> str:
        quoted = self._url.replace("\\", "\\\\").replace('"', '\\"')
        return f'[remote "origin"]\n\turl = "{quoted}"\n'

    def _config(self) -> str:
        """The clone's own configuration, as git and `begin` write it; a process only to read a value takes longer."""
        try:
            with open(os.path.join(self.path, "config"), encoding="utf-8", errors="surrogateescape") as file:
                return file.read(_MAX_CONFIG)
        except FileNotFoundError:
            return ""

    def _fetch(self, *how: str, given: Iterable[str] = (), refspecs: tuple[str, ...] = ()) -> tuple[int, str]:
        arguments = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", *how)
        if refspecs:
            status, _, said = self._attempt(*arguments, "--", "origin", *refspecs, is_online=True)
        else:
            lines = "".join(f"{each}\n" for each in given)
            status, _, said = self._attempt(*arguments, "--stdin", "--", "origin", given=lines.encode(), is_online=True)
        return status, said

    def _run(self, *arguments: str, is_online: bool = False) -> bytes:
        try:
            return self._git.run(_HERE, *arguments, cwd=self.path, is_online=is_online)
        except GitFailed as error:
            error.at(self._shown)
            raise

    def _attempt(self, *arguments: str, given: bytes = b"", is_online: bool = False) -> tuple[int, bytes, str]:
        return self._git.attempt(_HERE, *arguments, cwd=self.path, given=given, is_online=is_online)


def _refs_of(listed: bytes) -> Refs:
    """The branches and tags in what `ls-remote` or `show-ref` prints."""
    branches: dict[str, str] = {}
    tags: dict[str, str] = {}
    for line in listed.decode("utf-8", "replace").splitlines()[:_MAX_REFS]:
        name, _, ref = line.replace("\t", " ", 1).partition(" ")
        if _OBJECT.fullmatch(name) is None:
            continue
        if ref.startswith("refs/heads/"):
            branches[ref.removeprefix("refs/heads/")] = name
        elif ref.startswith("refs/tags/"):
            # The second line of an annotated tag has the commit.
            tags[ref.removeprefix("refs/tags/").removesuffix("^{}")] = name
    return Refs(branches, tags)
