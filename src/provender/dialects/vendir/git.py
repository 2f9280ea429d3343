"""Contents from Git repositories: `git`. The repository's own `.git` is not laid, other than by vendir."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from provender.dialects.vendir.config import within
from provender.dialects.vendir.fetch import Fetch, Work, identity_of
from provender.dialects.vendir.git_history import SUBMODULE, GitHistory
from provender.dialects.vendir.git_session import GitSession, check_address, git_session
from provender.dialects.vendir.image import secret_name
from provender.dialects.vendir.lock import LockContents, LockGit
from provender.dialects.vendir.modes import settle_modes
from provender.dialects.vendir.schema import Contents, Git
from provender.dialects.vendir.secrets import References
from provender.errors import InvalidProject, ProvenderError, Unsupported, VerificationFailed
from provender.storage.git.clones import GitClones, Refs
from provender.storage.git.objects import GitEntry
from provender.storage.git.turns import HostTurns
from provender.transfer.pool import Cancellation, run_all

__all__ = ["GitFetcher"]

_ORIGIN: Final = "origin/"
_MAX_DEPTH: Final = 8
_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_GPG_TIMEOUT_S: Final = 60


class GitFetcher:
    """A commit's files, with those of its submodules.

    Below `root` lie the clones: those of single commits, which all projects share, and those with history, which only
    tell how commits are called.
    """

    def __init__(self, root: Path, references: References) -> None:
        self._commits = GitClones(root / "git")
        self._root = root
        self._references = references
        self._turns = HostTurns()
        self._brought: set[tuple[str, str]] = set()
        """Addresses and commits that this run has fetched, which nobody removes."""
        self._refs: dict[tuple[str, str, bool, bool], Refs] = {}
        """What servers told this run, by address and by how it asked."""

    def resolve(self, contents: Contents, locked: LockContents | None, work: Work) -> Fetch:
        git = contents.git or Git()
        check_address(git.url)
        if git.depth < 0:
            raise InvalidProject("depth must not be negative", code="invalid-value", hint="0 is the whole history")
        if locked is not None and locked.git is not None:
            return _GitFetch(self, git, locked.git, keys=self._keys(git), is_verified=False)
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
        return _GitFetch(self, git, lock, keys=self._keys(git), is_verified=True)

    def lay(self, git: Git, lock: LockGit, staging: str, work: Work, *, is_verified: bool) -> None:
        """The files of the locked commit; its signature is checked first if that has not been done."""
        try:
            with self._session(git, git.url, work.cancellation) as session:
                self._lay(git, git.url, lock.sha, staging, session, is_verified=is_verified)
        except ProvenderError as error:
            raise within(error, "Fetching git repository") from error

    def _asked(self, git: Git, cancellation: Cancellation) -> LockGit:
        """What the repository says now."""
        with self._session(git, git.url, cancellation) as session:
            if git.verification is None and not git.depth:
                found = self._listed(git, session, cancellation)
                if found is not None:
                    return found
            with self._history(git, git.url, session) as history:
                history.fetch(depth=git.depth)
                ref = _wished(git, history.tags)
                sha, title = history.find(ref)
                self._verify(git, history, ref, sha, session)
                return LockGit(sha=sha, tags=history.described(sha), commit_title=title)

    def _listed(self, git: Git, session: GitSession, cancellation: Cancellation) -> LockGit | None:
        """What the list of branches and tags tells; None for other expressions, which need the history.

        The commit is brought for its title, with its files: they are wanted next, and asking again would cost time.
        """
        asker = (git.url, secret_name(git.secret_ref), git.dangerous_skip_tls_verify, git.force_http_basic_auth)
        with self._commits.open(git.url, session.command) as clone:
            # The clone is ours alone here: whoever waited for it finds what was told.
            refs = self._refs.get(asker) or clone.refs()
            self._refs[asker] = refs
        ref = _wished(git, lambda: list(refs.tags))
        sha = refs.tags.get(ref) or refs.branches.get(ref)
        if sha is None:
            return None
        titles: list[str] = []
        described: list[tuple[str, ...]] = []

        def bring() -> None:
            with self._commits.open(git.url, session.command) as clone:
                clone.bring(sha, is_partial=False)
                self._brought.add((git.url, sha))
                titles.append(GitHistory(clone, git.url, session.command).title(sha))

        def describe() -> None:
            with self._history(git, git.url, session) as history:
                if not history.has(refs):
                    history.fetch()
                described.append(history.described(sha))

        run_all([bring, describe] if refs.tags else [bring], jobs=2, cancellation=cancellation)
        return LockGit(sha=sha, tags=described[0] if described else (), commit_title=titles[0])

    @contextmanager
    def _history(self, git: Git, url: str, session: GitSession) -> Iterator[GitHistory]:
        kind = f"git-depth-{git.depth}" if git.depth else "git-history"
        with GitClones(self._root / kind).open(url, session.command) as clone:
            yield GitHistory(clone, url, session.command)

    def _lay(
        self,
        git: Git,
        url: str,
        sha: str,
        directory: str,
        session: GitSession,
        *,
        is_verified: bool = True,
        depth: int = 0,
    ) -> None:
        if depth > _MAX_DEPTH:
            raise InvalidProject(
                f"submodules are nested deeper than {_MAX_DEPTH}",
                code="submodule-depth",
                where=url,
                hint="set skipInitSubmodules: true, and list what you need by itself",
            )
        with self._commits.open(url, session.command) as clone:
            if (url, sha) not in self._brought:
                clone.bring(sha, is_partial=False)
            history = GitHistory(clone, url, session.command)
            if not is_verified:
                self._verify(git, history, "", sha, session)
            inner = self._check_out(git, url, sha, history.entries(sha), directory, history)
        self._lay_modules(git, url, inner, directory, session, depth=depth)

    def _check_out(
        self, git: Git, url: str, sha: str, entries: Sequence[GitEntry], directory: str, history: GitHistory
    ) -> dict[str, tuple[str, str]]:
        """Lay a commit; its submodules: path -> address and commit."""
        history.check_out(sha, entries, directory)
        if git.skip_init_submodules:
            return {}
        modules = {os.fsdecode(each.path): each.name for each in entries if each.mode == SUBMODULE}
        urls = history.module_urls(sha) if modules else {}
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
        session: GitSession,
        *,
        depth: int,
    ) -> None:
        for path, (address, commit) in inner.items():
            check_address(address)
            place = os.path.join(directory, path)
            if os.path.islink(place) or not os.path.realpath(place).startswith(os.path.realpath(directory) + os.sep):
                raise InvalidProject(f"the submodule '{path}' lies outside", code="invalid-path", where=url)
            os.makedirs(place, exist_ok=True)
            self._lay(git, address, commit, place, session, depth=depth + 1)

    def _session(self, git: Git, url: str, cancellation: Cancellation) -> AbstractContextManager[GitSession]:
        return git_session(
            url,
            secret_name(git.secret_ref),
            self._references,
            cancellation,
            self._turns,
            skips_tls_verify=git.dangerous_skip_tls_verify,
            forces_basic=git.force_http_basic_auth,
            skips_lfs=git.lfs_skip_smudge,
        )

    def _keys(self, git: Git) -> bytes:
        """The public keys to verify with; nothing without a wish to verify."""
        if git.verification is None:
            return b""
        data = self._references.secret(secret_name(git.verification.public_keys_secret_ref)).data
        return b"".join(b"%s\n" % data[name] for name in sorted(data))

    def _verify(self, git: Git, history: GitHistory, ref: str, sha: str, session: GitSession) -> None:
        """Check the signature with the keys of a Secret, if that is wished for."""
        if git.verification is None:
            return
        with tempfile.TemporaryDirectory(prefix="provender-gpg-") as home:
            os.chmod(home, 0o700)
            _import_keys(self._keys(git), home)
            try:
                history.verify(ref, sha, session.with_environment({"GNUPGHOME": home}))
            except ProvenderError as error:
                raise VerificationFailed(
                    f"Checking signature: {error.message}",
                    code="bad-signature",
                    where=error.where,
                    hint="the commit or tag is not signed by any of the keys in the Secret",
                ) from error


class _GitFetch:
    def __init__(self, fetcher: GitFetcher, git: Git, lock: LockGit, *, keys: bytes, is_verified: bool) -> None:
        if _SHA.fullmatch(lock.sha) is None:
            raise InvalidProject(
                f"not a commit: {lock.sha[:80]!r}",
                code="invalid-lock",
                hint="restore the lock from version control, or sync without --locked",
            )
        self._fetcher = fetcher
        self._git = git
        self._lock = lock
        self._is_verified = is_verified or git.verification is None
        how = (git.lfs_skip_smudge, git.skip_init_submodules, keys.decode("latin-1"))
        self.identity = identity_of("git", git.url, lock.sha, lock.tags, lock.commit_title, how)

    def lay(self, staging: str, work: Work) -> LockContents:
        self._fetcher.lay(self._git, self._lock, staging, work, is_verified=self._is_verified)
        settle_modes(staging, work.umask)
        return LockContents(git=self._lock)


def _wished(git: Git, tags: Callable[[], list[str]]) -> str:
    """The ref that is asked for, by its name or as the highest of the tags."""
    ref = git.ref.removeprefix(_ORIGIN)
    if ref or git.ref_selection is None:
        return ref
    from provender.dialects.vendir.semver import select_highest

    return select_highest(tags(), git.ref_selection)


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
