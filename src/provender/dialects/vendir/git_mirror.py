"""Mirrors of Git repositories in the cache: one for each address, without file contents until they are wanted.

What is pinned by its commit goes into a second, shallow one, so that a locked run fetches that commit and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from provender.dialects.vendir.git_command import GitCommand
from provender.errors import NotFound, ProvenderError
from provender.storage.files import FileLock

__all__ = ["GitMirrors", "Mirror"]

_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HEX: Final = re.compile(r"[0-9a-fA-F]{4,64}")
_MAX_TITLE: Final = 10_000


class GitMirrors:
    """The mirrors below `root`."""

    def __init__(self, root: Path, *, wait_s: float = 600.0) -> None:
        self._root = root
        self._wait_s = wait_s

    @contextmanager
    def open(self, url: str, git: GitCommand, *, kind: str = "") -> Iterator[Mirror]:
        """The mirror of `url`, made if need be, for this thread and process alone. `kind` tells further ones apart."""
        name = hashlib.sha256(f"{kind}\0{url}".encode()).hexdigest()
        self._root.mkdir(parents=True, exist_ok=True)
        place = self._root / name
        with FileLock(self._root / f"{name}.lock", timeout_s=self._wait_s, what="the mirror of a Git repository"):
            if not (place / "HEAD").is_file():
                git.run("init", "--quiet", "--bare", "--", str(place))
            yield Mirror(str(place), url, git)


class Mirror:
    """One bare repository."""

    def __init__(self, path: str, url: str, git: GitCommand) -> None:
        self._path = path
        self._url = url
        self._git = git

    def fetch(self, *, depth: int = 0) -> None:
        """Bring all branches and tags up to date; file contents are left for later, unless it is shallow."""
        self._point()
        how = [f"--depth={depth}"] if depth else ["--filter=blob:none"]
        self._run(
            "fetch",
            "--quiet",
            "--force",
            "--prune",
            "--no-write-fetch-head",
            *how,
            "--",
            "origin",
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        )

    def has(self, sha: str) -> bool:
        """Whether the commit is here already, with its directories."""
        return self._try("cat-file", "-e", f"{sha}^{{tree}}") is not None

    def fetch_commit(self, sha: str) -> bool:
        """Have one commit with its files; False if the server does not give single commits."""
        if self.has(sha):
            return True
        self._point()
        # Into a name of its own, so that it stays.
        ref = f"refs/pins/{sha}"
        arguments = ("fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--depth=1")
        return self._try(*arguments, "--", "origin", f"+{sha}:{ref}") is not None

    def commit(self, ref: str) -> str:
        """The commit that a tag, branch, commit or further expression of git leads to, in git's order."""
        names = [f"refs/tags/{ref}", f"refs/heads/{ref}"]
        if not ref.startswith("-") and (ref.startswith("refs/") or _HEX.fullmatch(ref) or set(ref) & set("^~@")):
            names.append(ref)
        for name in names:
            found = self._try("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            if found is not None and _SHA.fullmatch(found.strip()):
                return found.strip()
        near = ", ".join([*self.tags()[-5:], *self.branches()[:5]])
        raise NotFound(
            f"the repository has no tag, branch or commit {ref[:100]!r}",
            code="no-such-ref",
            where=_shown(self._url),
            hint=f"it has for example {near[:300]}" if near else "it has no tags and no branches",
        )

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

    def title(self, sha: str) -> str:
        """The first line of a commit's message, with dots if there is more."""
        message = self._run("log", "-n", "1", "--pretty=%B", sha)[:_MAX_TITLE].strip()
        message = message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        first, newline, _ = message.partition("\n")
        return f"{first}..." if newline else first

    def check_out(self, sha: str, directory: str) -> None:
        """Put the files of a commit into an empty directory, as a checkout makes them."""
        self._point()
        with tempfile.TemporaryDirectory(prefix="provender-git-") as place:
            env = {"GIT_INDEX_FILE": os.path.join(place, "index")}
            self._git.run(
                f"--git-dir={self._path}",
                f"--work-tree={directory}",
                "read-tree",
                "-u",
                "--reset",
                sha,
                cwd=directory,
                env=env,
            )

    def modules(self, sha: str) -> dict[str, str]:
        """The submodules of a commit: their paths and commits."""
        listed = self._run("ls-tree", "-r", "-z", "--full-tree", sha)
        found: dict[str, str] = {}
        for entry in listed.split("\0"):
            head, _, path = entry.partition("\t")
            if head.startswith("160000 "):
                found[path] = head.split(" ")[2]
        return found

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

    def verify(self, ref: str, home: str) -> None:
        """Check the signature of a tag, or else of a commit, with the keys in the keyring `home`."""
        env = {"GNUPGHOME": home}
        is_tag = (self._try("cat-file", "-t", ref) or "").strip() == "tag"
        self._git.run(f"--git-dir={self._path}", "verify-tag" if is_tag else "verify-commit", "--", ref, env=env)

    def _point(self) -> None:
        """Have the mirror know where it is from; what lazily fetches contents looks there."""
        known = self._try("config", "--get", "remote.origin.url")
        if known is None or known.rstrip("\n") != self._url:
            self._run("config", "remote.origin.url", self._url)

    def _run(self, *arguments: str) -> str:
        try:
            return self._git.run(f"--git-dir={self._path}", *arguments)
        except ProvenderError as error:
            error.at(_shown(self._url))
            raise

    def _try(self, *arguments: str) -> str | None:
        return self._git.attempt(f"--git-dir={self._path}", *arguments)


def _shown(url: str) -> str:
    from provender.storage.registry.redact import shown_url

    return shown_url(url) if "://" in url else url[:200]
