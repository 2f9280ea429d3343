"""Contents from Git repositories: `git`. The repository's own `.git` is not laid, other than by vendir."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import tempfile
from contextlib import AbstractContextManager
from typing import Final
from urllib.parse import urlsplit

from provender.dialects.vendir.config import within
from provender.dialects.vendir.fetch import Fetch, Work, identity_of
from provender.dialects.vendir.git_command import GitCommand, check_address, git_session
from provender.dialects.vendir.git_mirror import GitMirrors, Mirror
from provender.dialects.vendir.image import secret_name
from provender.dialects.vendir.lock import LockContents, LockGit
from provender.dialects.vendir.modes import settle_modes
from provender.dialects.vendir.schema import Contents, Git
from provender.dialects.vendir.secrets import References
from provender.errors import InvalidProject, ProvenderError, Unsupported, VerificationFailed
from provender.transfer.pool import Cancellation

__all__ = ["GitFetcher"]

_ORIGIN: Final = "origin/"
_MAX_DEPTH: Final = 8
_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_GPG_TIMEOUT_S: Final = 60


class GitFetcher:
    """A commit's files, with those of its submodules."""

    def __init__(self, mirrors: GitMirrors, references: References) -> None:
        self._mirrors = mirrors
        self._references = references

    def resolve(self, contents: Contents, locked: LockContents | None, work: Work) -> Fetch:
        git = contents.git or Git()
        check_address(git.url)
        if git.depth < 0:
            raise InvalidProject("depth must not be negative", code="invalid-value", hint="0 is the whole history")
        if locked is not None and locked.git is not None:
            return _GitFetch(self, git, locked.git)
        if not git.ref and git.ref_selection is None:
            raise InvalidProject(
                "Expected either ref or ref selection to be specified",
                code="missing-value",
                hint="write ref: origin/main, a tag or a commit; or refSelection: {semver: {constraints: '>=1.0.0'}}",
            )
        try:
            lock = self._asked(git, work.cancellation)
        except ProvenderError as error:
            raise within(error, "Fetching git repository") from error
        return _GitFetch(self, git, lock)

    def lay(self, git: Git, lock: LockGit, staging: str, work: Work) -> None:
        """The files of the locked commit."""
        try:
            with self._session(git, git.url, work.cancellation) as command:
                self._lay(git, git.url, lock.sha, staging, command, depth=0)
        except ProvenderError as error:
            raise within(error, "Fetching git repository") from error

    def _asked(self, git: Git, cancellation: Cancellation) -> LockGit:
        """What the repository says now."""
        kind = f"depth-{git.depth}" if git.depth else ""
        with (
            self._session(git, git.url, cancellation) as command,
            self._mirrors.open(git.url, command, kind=kind) as mirror,
        ):
            mirror.fetch(depth=git.depth)
            ref = git.ref.removeprefix(_ORIGIN)
            if not ref and git.ref_selection is not None:
                from provender.dialects.vendir.semver import select_highest

                ref = select_highest(mirror.tags(), git.ref_selection)
            sha = mirror.commit(ref)
            if git.verification is not None:
                self._verify(git, mirror, ref)
            return LockGit(sha=sha, tags=mirror.described(sha), commit_title=mirror.title(sha))

    def _lay(self, git: Git, url: str, sha: str, directory: str, command: GitCommand, *, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise InvalidProject(
                f"submodules are nested deeper than {_MAX_DEPTH}",
                code="submodule-depth",
                where=url,
                hint="set skipInitSubmodules: true, and list what you need by itself",
            )
        kind = f"depth-{git.depth}" if git.depth and not depth else ""
        with self._mirrors.open(url, command, kind=kind) as mirror:
            if mirror.has(sha):
                inner = self._check_out(git, url, sha, directory, mirror)
                return self._lay_modules(git, url, inner, directory, command, depth=depth)
        with self._mirrors.open(url, command, kind="pins") as mirror:
            if mirror.fetch_commit(sha):
                if git.verification is not None and not depth:
                    self._verify(git, mirror, sha)
                inner = self._check_out(git, url, sha, directory, mirror)
                return self._lay_modules(git, url, inner, directory, command, depth=depth)
        with self._mirrors.open(url, command) as mirror:
            mirror.fetch()
            if git.verification is not None and not depth:
                self._verify(git, mirror, sha)
            inner = self._check_out(git, url, mirror.commit(sha), directory, mirror)
        return self._lay_modules(git, url, inner, directory, command, depth=depth)

    def _check_out(self, git: Git, url: str, sha: str, directory: str, mirror: Mirror) -> dict[str, tuple[str, str]]:
        """Lay a commit; its submodules: path -> address and commit."""
        mirror.check_out(sha, directory)
        if git.skip_init_submodules:
            return {}
        modules = mirror.modules(sha)
        urls = mirror.module_urls(sha) if modules else {}
        inner: dict[str, tuple[str, str]] = {}
        for path, commit in modules.items():
            if path not in urls:
                raise InvalidProject(
                    f"No url found for submodule path '{path}' in .gitmodules",
                    code="no-submodule-url",
                    where=url,
                    hint="set skipInitSubmodules: true, or have the repository mended",
                )
            inner[path] = (_joined(url, urls[path]), commit)
        return inner

    def _lay_modules(
        self,
        git: Git,
        url: str,
        inner: dict[str, tuple[str, str]],
        directory: str,
        command: GitCommand,
        *,
        depth: int,
    ) -> None:
        for path, (address, commit) in inner.items():
            check_address(address)
            place = os.path.join(directory, path)
            if os.path.islink(place) or not os.path.realpath(place).startswith(os.path.realpath(directory) + os.sep):
                raise InvalidProject(f"the submodule '{path}' lies outside", code="invalid-path", where=url)
            os.makedirs(place, exist_ok=True)
            self._lay(git, address, commit, place, command, depth=depth + 1)

    def _session(self, git: Git, url: str, cancellation: Cancellation) -> AbstractContextManager[GitCommand]:
        return git_session(
            url,
            secret_name(git.secret_ref),
            self._references,
            cancellation,
            skips_tls_verify=git.dangerous_skip_tls_verify,
            forces_basic=git.force_http_basic_auth,
            skips_lfs=git.lfs_skip_smudge,
        )

    def _verify(self, git: Git, mirror: Mirror, ref: str) -> None:
        """Check the signature with the keys of a Secret."""
        name = secret_name(git.verification.public_keys_secret_ref if git.verification is not None else None)
        keys = b"\n".join(self._references.secret(name).data.values()) + b"\n"
        with tempfile.TemporaryDirectory(prefix="provender-gpg-") as home:
            os.chmod(home, 0o700)
            _import_keys(keys, home)
            try:
                mirror.verify(ref, home)
            except ProvenderError as error:
                raise VerificationFailed(
                    f"Checking signature: {error.message}",
                    code="bad-signature",
                    where=error.where,
                    hint="the commit or tag is not signed by any of the keys in the Secret",
                ) from error


class _GitFetch:
    def __init__(self, fetcher: GitFetcher, git: Git, lock: LockGit) -> None:
        if _SHA.fullmatch(lock.sha) is None:
            raise InvalidProject(
                f"not a commit: {lock.sha[:80]!r}",
                code="invalid-lock",
                hint="restore the lock from version control, or sync without --locked",
            )
        self._fetcher = fetcher
        self._git = git
        self._lock = lock
        flags = (git.lfs_skip_smudge, git.skip_init_submodules)
        self.identity = identity_of("git", git.url, lock.sha, lock.tags, lock.commit_title, flags)

    def lay(self, staging: str, work: Work) -> LockContents:
        self._fetcher.lay(self._git, self._lock, staging, work)
        settle_modes(staging, work.umask)
        return LockContents(git=self._lock)


def _import_keys(keys: bytes, home: str) -> None:
    try:
        result = subprocess.run(  # noqa: S603 - a fixed program
            ["gpg", "--batch", "--quiet", "--homedir", home, "--import"],  # noqa: S607 - the user's own gpg
            input=keys,
            capture_output=True,
            timeout=_GPG_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise Unsupported(
            "the program gpg is not installed, so no signature can be verified",
            code="no-gpg",
            hint="install GnuPG, or remove 'verification'",
        ) from error
    if result.returncode:
        said = result.stderr.decode("utf-8", "replace").strip()[-300:]
        raise InvalidProject(
            f"Reading armored key ring: {said}", code="unusable-keys", hint="put armored public keys into the Secret"
        )


def _joined(base: str, url: str) -> str:
    """The address of a submodule; one that begins with a dot is relative to that of its parent."""
    if not url.startswith(("./", "../")):
        return url
    parts = urlsplit(base)
    if parts.scheme:
        path = posixpath.normpath(posixpath.join(parts.path, url))
        return parts._replace(path=path).geturl()
    head, colon, tail = base.partition(":")
    if colon and "/" not in head:
        return f"{head}:{posixpath.normpath(posixpath.join(tail, url))}"
    return posixpath.normpath(posixpath.join(base, url))
