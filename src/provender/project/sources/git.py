"""The source `git`: the tree of a commit, laid straight from its objects, the same on every machine. Project layer.

No checkout happens, so that no hook, filter, attribute or line-end rule has a say; names and links go through the same
checks as those of archives.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from provender.artifact.names import shown, split_path
from provender.artifact.selection import choose
from provender.artifact.tree import Entry, TreeWriter
from provender.errors import IntegrityError, InvalidProject, NotFound, Unavailable
from provender.project.addresses import check_git_url, git_transport
from provender.project.dependency import Dependency, Paths
from provender.project.lock_entry import LockedDependency, LockedGit, locked_as
from provender.project.origin import GitOrigin
from provender.project.sources.lfs import lay_pointer, pointer_of
from provender.storage.git.clones import Clone, GitClones, Refs
from provender.storage.git.command import GitCommand
from provender.storage.git.objects import GitEntry, ObjectReader
from provender.storage.git.ssh import with_quiet_ssh
from provender.storage.git.turns import HostTurns
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress
from provender.versions import Range, nearest
from provender.versions import select as newest

__all__ = ["GitSource"]

_MAX_DEPTH: Final = 8
_MAX_MODULES: Final = 500
_MAX_MODULES_BYTES: Final = 1 << 20
_MAX_LINK_BYTES: Final = 4096
_SUBMODULE: Final = "160000"
_LINK: Final = "120000"
_EXECUTABLE: Final = "100755"


class _File(msgspec.Struct, frozen=True):
    """A file or link to lay: its path in the whole tree, its object, and the clone that has it."""

    path: str
    mode: str
    name: str
    clone: str
    """The address."""
    commit: str


class GitSource:
    """Finds commits and lays their trees. Logins are those of the user's own git configuration."""

    def __init__(
        self,
        clones: GitClones,
        environ: Mapping[str, str],
        *,
        is_offline: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._clones = clones
        self._environ = environ
        self._is_offline = is_offline
        self._limits = limits
        self._refs: dict[str, Refs] = {}
        self._turns = HostTurns()

    def resolve(self, dependency: Dependency) -> LockedGit:
        """The commit that is wanted. Raises NotFound (no such branch, tag or version; near ones are listed)."""
        origin = dependency.origin_as(GitOrigin)
        commit, tag = self._found(origin)
        return LockedGit(
            url=origin.url,
            requested=origin.requested,
            submodules=origin.submodules,
            lfs=origin.lfs,
            selection=dependency.paths.recorded,
            commit=commit,
            tag=tag,
            tree=None,
            to=dependency.to,
        )

    def versions(self, dependency: Dependency) -> list[str]:
        """The tags of the repository."""
        origin = dependency.origin_as(GitOrigin)
        _refuse_offline(self._is_offline, origin.url)
        with self._clones.open(origin.url, self._command(origin.url, Cancellation())) as clone:
            return list(clone.refs().tags)

    def lay(
        self,
        dependency: Dependency,
        locked: LockedDependency,
        staging: str,
        *,
        jobs: int,  # noqa: ARG002 - git works with one connection
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Entry, ...]:
        """The files of the commit in the empty directory `staging`; without submodules unless they are asked for."""
        origin, entry = dependency.origin_as(GitOrigin), locked_as(locked, LockedGit)
        laying = _Laying(
            self._clones,
            self._command(origin.url, cancellation),
            origin,
            dependency.paths,
            is_offline=self._is_offline,
            limits=self._limits,
        )
        task = progress.start(dependency.name, None)
        entries = laying.run(entry.commit, staging, cancellation)
        progress.done(task)
        return entries

    def _found(self, origin: GitOrigin) -> tuple[str, str | None]:
        """The commit, and the tag that it was found under."""
        wish = origin.requested
        if wish.commit is not None:
            return wish.commit, wish.tag
        git = self._command(origin.url, Cancellation())
        _refuse_offline(self._is_offline, origin.url)
        with self._clones.open(origin.url, git) as clone:
            if wish.branch is None and wish.tag is None and wish.version is None and wish.ref is None:
                return clone.head()[0], None
            # The clone is ours alone here: whoever waited for it finds what was told.
            refs = self._refs.get(origin.url) or clone.refs()
            self._refs[origin.url] = refs
        if wish.version is not None:
            tag = _newest(list(refs.tags), wish.version, origin.url)
            return refs.tags[tag], tag
        tag_name, branch = wish.tag or wish.ref, wish.branch or wish.ref
        if tag_name is not None and tag_name in refs.tags:
            return refs.tags[tag_name], tag_name
        if branch is not None and branch in refs.branches:
            return refs.branches[branch], None
        raise _no_such_ref(wish.tag, wish.branch or wish.ref or "", refs, origin.url)

    def _command(self, url: str, cancellation: Cancellation) -> GitCommand:
        environ = self._environ
        transport = git_transport(url)
        # `insteadOf` of the user's may turn the one into the other; plain text and files only where they are asked for.
        transports = {"https", "ssh", transport}
        if transport == "ssh":
            environ = with_quiet_ssh(environ)
        return GitCommand(
            environ,
            transports=sorted(transports),
            check=cancellation.check,
            turn=lambda: self._turns.taken(url, cancellation.check),
        )


class _Laying:
    """One tree, with those of its submodules, on its way to a staging directory."""

    def __init__(
        self,
        clones: GitClones,
        git: GitCommand,
        origin: GitOrigin,
        paths: Paths,
        *,
        is_offline: bool,
        limits: Limits,
    ) -> None:
        self._clones = clones
        self._git = git
        self._origin = origin
        self._paths = paths
        self._is_offline = is_offline
        self._limits = limits
        self._files: list[_File] = []
        self._modules = 0

    def run(self, commit: str, staging: str, cancellation: Cancellation) -> tuple[Entry, ...]:
        """The entries of what was laid."""
        self._list(self._origin.url, commit, "", depth=0)
        chosen = self._chosen()
        with TreeWriter(staging, self._limits) as writer:
            for (url, commit_of), files in _grouped(chosen).items():
                cancellation.check()
                if not self._is_offline:
                    with self._clones.open(url, self._git) as clone:
                        clone.complete(commit_of, [file.name for _, file in files])
                self._lay_all(self._clones.look(url, self._git), files, writer, cancellation)
            return writer.finish()

    def _lay_all(
        self, clone: Clone, files: Sequence[tuple[str, _File]], writer: TreeWriter, cancellation: Cancellation
    ) -> None:
        with clone.reader() as reader:
            for path, file in files:
                cancellation.check()
                self._lay(path, file, reader, writer, clone)

    def _list(self, url: str, commit: str, prefix: str, *, depth: int) -> None:
        """Note the files of a commit, and of its submodules."""
        if depth > _MAX_DEPTH:
            raise InvalidProject(
                f"submodules lie in each other more than {_MAX_DEPTH} deep",
                code="submodule-depth",
                where=url,
                hint="write 'submodules: false', and make those that you need dependencies of their own",
            )
        with self._clones.open(url, self._git) as clone:
            self._bring(clone, commit, url)
            entries = clone.entries(commit)
            modules = [each for each in entries if each.mode == _SUBMODULE]
            urls = self._module_urls(clone, commit, entries) if modules and self._origin.submodules else {}
        for each in entries:
            if each.mode != _SUBMODULE:
                self._files.append(_File(prefix + _text(each.path, url), each.mode, each.name, url, commit))
        for each in modules if self._origin.submodules else []:
            path = _text(each.path, url)
            inner = self._module_url(urls, path, url)
            self._modules += 1
            if self._modules > _MAX_MODULES:
                raise InvalidProject(
                    f"there are more than {_MAX_MODULES} submodules", code="too-many-submodules", where=url
                )
            self._list(inner, each.name, f"{prefix}{path}/", depth=depth + 1)

    def _bring(self, clone: Clone, commit: str, url: str) -> None:
        if self._is_offline:
            if not clone.has(commit):
                _refuse_offline(True, url)
            return
        clone.bring(commit, is_partial=self._paths != Paths())

    def _module_urls(self, clone: Clone, commit: str, entries: Sequence[GitEntry]) -> dict[str, str]:
        """The addresses that `.gitmodules` has, by path."""
        found = next((each for each in entries if each.path == b".gitmodules" and each.mode != _LINK), None)
        if found is None:
            return {}
        if not self._is_offline:
            clone.complete(commit, [found.name])
        with clone.reader() as reader:
            reader.content(found.name, limit_bytes=_MAX_MODULES_BYTES)
        paths: dict[str, str] = {}
        urls: dict[str, str] = {}
        for key, value in clone.config_of(found.name):
            name, _, field = key.removeprefix("submodule.").rpartition(".")
            if key.startswith("submodule.") and field in ("path", "url"):
                (paths if field == "path" else urls)[name] = value
        return {path: urls[name] for name, path in paths.items() if name in urls}

    def _module_url(self, urls: Mapping[str, str], path: str, parent: str) -> str:
        url = urls.get(path)
        if url is None:
            raise InvalidProject(
                f"the submodule {shown(path)} has no address in .gitmodules",
                code="no-submodule-url",
                where=parent,
                hint="have the repository mended, or write 'submodules: false'",
            )
        joined = _joined(parent, url)
        try:
            transport = git_transport(check_git_url(joined))
        except InvalidProject as error:
            error.message = f"the submodule {shown(path)}: {error.message}"
            error.hint = "write 'submodules: false', and make what you need a dependency of its own"
            raise error.at(parent) from error
        mine = git_transport(self._origin.url)
        if transport not in ("https", "ssh", mine):
            raise InvalidProject(
                f"the submodule {shown(path)} is at {joined[:150]!r}, over {transport}, which was not asked for",
                code="submodule-transport",
                where=parent,
                hint="write 'submodules: false', and make what you need a dependency of its own",
            )
        return joined

    def _chosen(self) -> list[tuple[str, _File]]:
        """What is laid, with the paths it will have."""
        by_path = {file.path: file for file in self._files}
        # Links count as files here: where they lead is checked in the tree that is laid.
        entries = tuple([Entry(path, "f", "644", "", 0) for path in sorted(by_path)])
        prefix = f"{self._paths.root}/" if self._paths.root else ""
        return [(each.path, by_path[prefix + each.path]) for each in choose(entries, self._paths.selection)]

    def _lay(self, path: str, file: _File, reader: ObjectReader, writer: TreeWriter, clone: Clone) -> None:
        where = f"{file.clone} {file.commit[:12]}"
        parts = split_path(path, where=where, limits=self._limits)
        size = reader.size(file.name)
        if file.mode == _LINK:
            if size > _MAX_LINK_BYTES:
                raise IntegrityError(f"the link {shown(path)} is too long", code="bad-link", where=where)
            writer.symlink(parts, _text(b"".join(reader.pieces(size)), where), origin=where)
            return
        is_executable = file.mode == _EXECUTABLE
        content: bytes | None = None
        if self._origin.lfs and size <= _MAX_LINK_BYTES:
            content = b"".join(reader.pieces(size))
            pointer = pointer_of(content)
            if pointer is not None:
                lay_pointer(pointer, clone, parts, writer, executable=is_executable, where=where)
                return
        pieces = reader.pieces(size) if content is None else content
        writer.file(parts, pieces, executable=is_executable, size=size, origin=where)


def _grouped(chosen: Sequence[tuple[str, _File]]) -> dict[tuple[str, str], list[tuple[str, _File]]]:
    groups: dict[tuple[str, str], list[tuple[str, _File]]] = {}
    for path, file in chosen:
        groups.setdefault((file.clone, file.commit), []).append((path, file))
    return groups


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise IntegrityError(
            f"the name {shown(raw.decode('utf-8', 'backslashreplace'))} is not valid UTF-8",
            code="bad-name",
            where=where,
            hint="leave it out with 'exclude', or have the repository mended",
        ) from error


def _newest(tags: list[str], version: str, url: str) -> str:
    wanted = Range.parse(version)
    found = newest(tags, wanted)
    if found is None:
        near = ", ".join(nearest(tags, wanted)) or "none"
        raise NotFound(
            f"no tag of the repository is in the range {version!r}",
            code="no-version-matched",
            where=url,
            hint=f"nearest of its {len(tags)} tags: {near}",
        )
    return found


def _no_such_ref(tag: str | None, branch: str, refs: Refs, url: str) -> NotFound:
    kind, asked, there = ("tag", tag, refs.tags) if tag is not None else ("branch", branch, refs.branches)
    other = "branch" if tag is not None else "tag"
    if asked in (refs.branches if tag is not None else refs.tags):
        hint = f"it is a {other}: write '{other}: {asked}'"
    else:
        near = difflib.get_close_matches(asked, list(there)[:20_000], n=3)
        hint = (
            f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(list(there)[-10:])[:300] or 'none'}"
        )
    return NotFound(f"the repository has no {kind} {asked[:150]!r}", code="no-such-ref", where=url, hint=hint)


def _refuse_offline(is_offline: bool, url: str) -> None:
    if is_offline:
        raise Unavailable(
            "the repository may not be asked: this run is offline",
            code="offline",
            where=url,
            hint="run once without --offline, so that the commit is in the cache",
            retryable=False,
            exit_status=69,
        )


def _joined(parent: str, url: str) -> str:
    """The address of a submodule; one that begins with a dot is relative to that of its parent."""
    if not url.startswith(("./", "../")):
        return url
    if "://" in parent:
        parts = urlsplit(parent)
        return parts._replace(path=posixpath.normpath(posixpath.join(parts.path, url))).geturl()
    host, _, path = parent.partition(":")
    return f"{host}:{posixpath.normpath(posixpath.join(path, url))}"
