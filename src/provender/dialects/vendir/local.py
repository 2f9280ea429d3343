"""Contents without a network: `inline`, `directory` and `manual`."""

from __future__ import annotations

import os
import shutil
import stat

from provender.dialects.vendir.config import clean_path
from provender.dialects.vendir.fetch import Fetch, Work, identity_of
from provender.dialects.vendir.lock import LockContents, LockNothing
from provender.dialects.vendir.schema import Contents, Inline
from provender.dialects.vendir.secrets import References
from provender.errors import InvalidProject, NotFound, Unsupported

__all__ = ["DirectoryFetcher", "InlineFetcher"]


class InlineFetcher:
    """Files that stand in the configuration, in a Secret or in a ConfigMap; with mode 0600, directories 0700."""

    def __init__(self, references: References) -> None:
        self._references = references

    def resolve(self, contents: Contents, locked: LockContents | None, work: Work) -> Fetch:
        del locked, work
        return _InlineFetch(_collected(contents.inline or Inline(), self._references))


class _InlineFetch:
    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self.identity = identity_of("inline", sorted(files.items()))

    def lay(self, staging: str, work: Work) -> LockContents:
        del work
        os.chmod(staging, 0o700)
        for path, content in self._files.items():
            target = os.path.join(staging, path)
            _make_directories(staging, os.path.dirname(path))
            if os.path.isdir(target):
                raise InvalidProject(
                    f"Writing file '{path}': it is a directory", code="invalid-path", hint="give the file another name"
                )
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(fd, "wb") as file:
                file.write(content)
                os.fchmod(fd, 0o600)
        return LockContents(inline=LockNothing())


class DirectoryFetcher:
    """A copy of another directory, links and modes included."""

    def resolve(self, contents: Contents, locked: LockContents | None, work: Work) -> Fetch:
        del locked, work
        path = contents.directory.path if contents.directory is not None else ""
        if not path:
            raise InvalidProject(
                "Expected non-empty path", code="missing-value", hint="write directory: {path: some/where}"
            )
        return _DirectoryFetch(path)


class _DirectoryFetch:
    identity = None
    """A look at the source would not be enough, and copying it is as quick as reading it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def lay(self, staging: str, work: Work) -> LockContents:
        try:
            mode = os.lstat(self._path).st_mode
        except FileNotFoundError as error:
            raise NotFound(
                f"lstat {self._path}: no such file or directory",
                code="no-such-directory",
                hint="the path is relative to the working directory, not to the file",
            ) from error
        if not stat.S_ISDIR(mode):
            kind = "a symbolic link" if stat.S_ISLNK(mode) else "a file"
            raise InvalidProject(
                f"{self._path} is {kind}, no directory",
                code="not-a-directory",
                hint="name a directory; choose files of it with includePaths",
            )
        inside = os.path.realpath(staging).startswith(os.path.realpath(self._path) + os.sep)
        if inside:
            raise InvalidProject(
                f"{self._path} holds the directory that it is to be copied into",
                code="invalid-path",
                hint="name a directory that the contents do not lie in",
            )
        self._copy(self._path, staging, work)
        return LockContents(directory=LockNothing())

    def _copy(self, source: str, target: str, work: Work) -> None:
        work.cancellation.check()
        with os.scandir(source) as entries:
            for entry in entries:
                path = os.path.join(target, entry.name)
                if entry.is_symlink():
                    os.symlink(os.readlink(entry.path), path)
                elif entry.is_dir(follow_symlinks=False):
                    os.mkdir(path, 0o755)
                    self._copy(entry.path, path, work)
                elif entry.is_file(follow_symlinks=False):
                    shutil.copyfile(entry.path, path)
                    os.chmod(path, stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode) & 0o777)
                else:
                    raise Unsupported(
                        f"{entry.path} is neither file nor directory nor link",
                        code="special-file",
                        hint="sockets, pipes and devices cannot be copied; keep them out of the directory",
                    )
        os.chmod(target, stat.S_IMODE(os.lstat(source).st_mode) & 0o777)


def _collected(inline: Inline, references: References) -> dict[str, bytes]:
    files = {_scoped(path): text.encode() for path, text in inline.paths.items()}
    for source in inline.paths_from:
        if source.secret_ref is not None:
            ref = source.secret_ref
            values = references.secret(ref.name).data
        elif source.config_map_ref is not None:
            ref = source.config_map_ref
            values = {key: text.encode() for key, text in references.config_map(ref.name).data.items()}
        else:
            raise InvalidProject(
                "Expected either secretRef or configMapRef as a source",
                code="missing-value",
                hint="write pathsFrom: [{configMapRef: {name: some-name}}]",
            )
        for name, content in values.items():
            files[_scoped(f"{ref.directory_path}/{name}" if ref.directory_path else name)] = content
    return files


def _scoped(path: str) -> str:
    """The path below the contents' root; InvalidProject for one outside of it."""
    clean = clean_path(path.lstrip("/") or ".")
    if clean in (".", "..") or clean.startswith("../") or "\0" in clean:
        raise InvalidProject(
            f"Invalid path: {path}", code="invalid-path", hint="name a file inside of the contents, such as docs/a.txt"
        )
    return clean


def _make_directories(root: str, relative: str) -> None:
    path = root
    for part in relative.split("/") if relative else ():
        path = os.path.join(path, part)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError as error:
            if not os.path.isdir(path):
                raise InvalidProject(
                    f"Making parent directory '{relative}': {part} is a file",
                    code="invalid-path",
                    hint="give the file or the directory another name",
                ) from error
