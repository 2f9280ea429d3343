"""What a vendir lock says of a commit, and a checkout as git makes it, over a clone in the cache.

The names that lead to a commit, its title and what `git describe` says of it need branches, tags and history, which the
shared clones do not have; file contents come when they are wanted. Attributes and filters of the user's git apply, as
they do in vendir.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from provender.errors import NotFound, ProvenderError
from provender.storage.git.clones import Clone, Refs
from provender.storage.git.command import GitCommand
from provender.storage.git.objects import GitEntry

__all__ = ["SUBMODULE", "GitHistory"]

_HERE: Final = "--git-dir=."
_COMMIT: Final = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) commit ([0-9]{1,12})")
_HEX: Final = re.compile(r"[0-9a-fA-F]{4,64}")
_MAX_TITLE: Final = 10_000
# Keys that the user's own configuration trusts for other formats do not count.
_ONLY_OPENPGP: Final = (
    "-c",
    "gpg.program=gpg",
    "-c",
    "gpg.minTrustLevel=undefined",
    "-c",
    "gpg.ssh.allowedSignersFile=/dev/null",
    "-c",
    "gpg.x509.program=false",
)
_FETCH: Final = ("fetch", "--quiet", "--force", "--prune", "--no-write-fetch-head")
_ALL_REFS: Final = ("--", "origin", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
SUBMODULE: Final = "160000"


class GitHistory:
    """One clone at `clone`, which is from `url`; to be used by one thread at a time."""

    def __init__(self, clone: Clone, url: str, git: GitCommand) -> None:
        self._clone = clone
        self._url = url
        self._git = git

    def fetch(self, *, depth: int = 0) -> None:
        """Bring all branches and tags up to date: commits without their files, unless it is shallow."""
        self._clone.point()
        if depth or not self._fetched("--filter=tree:0"):
            self._run(*_FETCH, f"--depth={depth}" if depth else "--filter=blob:none", *_ALL_REFS)

    def _fetched(self, how: str) -> bool:
        """Whether the server gives that; some allow only a few filters."""
        return not self._git.attempt(_HERE, *_FETCH, how, *_ALL_REFS, cwd=self._clone.path)[0]

    def has(self, refs: Refs) -> bool:
        """True if the clone has exactly these branches and tags, and so what leads to them."""
        return self._clone.known_refs() == refs

    def find(self, ref: str) -> tuple[str, str]:
        """The commit that a tag, branch, commit or other expression leads to, in git's order, and its title."""
        names = [f"refs/tags/{ref}", f"refs/heads/{ref}"]
        if not ref.startswith("-") and (ref.startswith("refs/") or _HEX.fullmatch(ref) or set(ref) & set("^~@")):
            names.append(ref)
        found = self._read([f"{name}^{{commit}}" for name in names]) if ref.isprintable() else None
        if found is not None:
            return found
        near = ", ".join([*self.tags()[-5:], *self.branches()[:5]])
        raise NotFound(
            f"the repository has no tag, branch or commit {ref[:100]!r}",
            code="no-such-ref",
            where=_shown(self._url),
            hint=f"it has for example {near[:300]}" if near else "it has no tags and no branches",
        )

    def title(self, sha: str) -> str:
        """The title of a commit. Raises NotFound if it is none, as what a tag of a file leads to."""
        found = self._read([f"{sha}^{{commit}}"])
        if found is None:
            raise NotFound(f"{sha} is no commit", code="no-such-commit", where=_shown(self._url))
        return found[1]

    def tags(self) -> list[str]:
        """The names of all tags."""
        return self._run("for-each-ref", "--format=%(refname:strip=2)", "refs/tags").split()

    def branches(self) -> list[str]:
        """The names of all branches."""
        return self._run("for-each-ref", "--format=%(refname:strip=2)", "refs/heads").split()

    def described(self, sha: str) -> tuple[str, ...]:
        """What `git describe --tags` says of a commit; nothing if no tag leads to it."""
        found = self._try("describe", "--tags", sha)
        return tuple(found.strip().split("\n")) if found is not None else ()

    def entries(self, sha: str) -> tuple[GitEntry, ...]:
        """Every file, link and submodule of a commit; GitFailed if it is not here."""
        return self._clone.entries(sha)

    def check_out(self, sha: str, entries: Iterable[GitEntry], directory: str) -> None:
        """Put the files of a commit, which has these entries, into an empty directory, as a checkout makes them."""
        self._clone.complete(sha, [each.name for each in entries if each.mode != SUBMODULE])
        # With a work tree git changes to it, and then looks for objects by the path of the repository as it was given.
        places = (f"--git-dir={os.path.abspath(self._clone.path)}", f"--work-tree={os.path.abspath(directory)}")
        self._forget_index()
        try:
            self._run(*places, "read-tree", "-u", "--reset", sha)
        finally:
            self._forget_index()

    def module_urls(self, sha: str) -> dict[str, str]:
        """The addresses in `.gitmodules`, by path."""
        listed = self._try("config", "--blob", f"{sha}:.gitmodules", "--null", "--list")
        paths: dict[str, str] = {}
        urls: dict[str, str] = {}
        for entry in (listed or "").split("\0"):
            key, _, value = entry.partition("\n")
            name, _, field = key.removeprefix("submodule.").rpartition(".")
            if key.startswith("submodule.") and field == "path":
                paths[name] = value
            elif key.startswith("submodule.") and field == "url":
                urls[name] = value
        return {path: urls[name] for name, path in paths.items() if name in urls}

    def verify(self, ref: str, sha: str, git: GitCommand) -> None:
        """Check the signature of the tag `ref`, or else of the commit, with the OpenPGP keys of `git`'s environment."""
        tag = f"refs/tags/{ref}"
        is_tag = bool(ref) and (self._try("cat-file", "-t", tag) or "").strip() == "tag"
        what = ("verify-tag", "--", tag) if is_tag else ("verify-commit", "--", sha)
        git.run(_HERE, *_ONLY_OPENPGP, *what, cwd=self._clone.path)

    def _read(self, names: Sequence[str]) -> tuple[str, str] | None:
        """The first of these names that leads to a commit: the commit and its title."""
        given = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
        rest = self._git.run(_HERE, "cat-file", "--batch", cwd=self._clone.path, given=given)
        while rest:
            head, _, rest = rest.partition(b"\n")
            if found := _COMMIT.fullmatch(head):
                return found[1].decode("ascii"), _title(rest[: int(found[2])])
        return None

    def _forget_index(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self._clone.path, "index"))

    def _run(self, *arguments: str) -> str:
        try:
            return self._git.run(_HERE, *arguments, cwd=self._clone.path).decode("utf-8", "surrogateescape")
        except ProvenderError as error:
            error.at(_shown(self._url))
            raise

    def _try(self, *arguments: str) -> str | None:
        status, out, _ = self._git.attempt(_HERE, *arguments, cwd=self._clone.path)
        return None if status else out.decode("utf-8", "surrogateescape")


def _title(commit: bytes) -> str:
    """The first line of a commit's message, with dots if there is more."""
    headers, _, message = commit.partition(b"\n\n")
    encoding = next((line[9:] for line in headers.split(b"\n") if line.startswith(b"encoding ")), b"utf-8")
    try:
        text = message[:_MAX_TITLE].decode(encoding.decode("ascii", "replace"), "replace").strip()
    except LookupError:
        text = message[:_MAX_TITLE].decode("utf-8", "replace").strip()
    first, newline, _ = text.partition("\n")
    return f"{first}..." if newline else first


def _shown(url: str) -> str:
    from provender.storage.registry.redact import shown_url

    return shown_url(url) if "://" in url else url[:200]
