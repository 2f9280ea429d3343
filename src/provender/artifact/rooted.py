"""A directory that is only ever reached through one descriptor: nothing in here can lead outside of it.

Artifact layer, below the tree writer. Every component is opened relative to its parent's descriptor and never through a
symbolic link, so neither an archive nor another process can redirect a write. POSIX only.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from provender.artifact.names import shown
from provender.errors import IntegrityError

__all__ = ["Directory", "RootedDirectory"]

_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_MODE: Final = 0o755
_CHANGED: Final = frozenset({errno.EEXIST, errno.ENOENT, errno.ELOOP, errno.ENOTDIR})


class Directory:
    """An open directory in use: `fd` is valid from `acquire` to `release`."""

    __slots__ = ("fd", "path", "users")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd
        self.users = 0


class RootedDirectory:
    """Creates files, directories and links below `root`, an existing empty directory.

    Paths are checked components joined by `/`; `""` is the root. `acquire`, `release` and `make_directory` are to be
    called under one lock of the caller; the others need only a directory that is held. Directories in use stay open,
    and at most `keep_open` besides.
    """

    def __init__(self, root: str, *, keep_open: int = 64) -> None:
        self._root = root
        self._keep_open = keep_open
        self._exact: dict[int, bool] = {}
        fd = os.open(root, _OPEN_DIRECTORY)
        # The root is in use from here to `close`, so it is never evicted.
        self._open = {"": Directory("", fd)}
        self._open[""].users = 1
        if os.listdir(fd):
            self.close()
            raise IntegrityError(
                f"the staging directory {root} is not empty",
                code="staging-not-empty",
                hint="remove it; it belongs to a run that was interrupted, or to something else",
            )

    def acquire(self, path: str) -> Directory:
        """The directory at `path`, opened and held."""
        found = self._open.pop(path, None)
        if found is None:
            parent, _, name = path.rpartition("/")
            above = self.acquire(parent)
            try:
                found = Directory(path, os.open(name, _OPEN_DIRECTORY, dir_fd=above.fd))
            except OSError as error:
                raise self.explained(path, error) from error
            finally:
                self.release(above)
            self._evict()
        # Taken out and put in again: the order of the table is the order of last use.
        self._open[path] = found
        found.users += 1
        return found

    def release(self, directory: Directory) -> None:
        """Ends one `acquire`."""
        directory.users -= 1

    def make_directory(self, path: str) -> None:
        """Creates the directory `path` (mode 755 whatever the umask); its parent exists."""
        parent, _, name = path.rpartition("/")
        above = self.acquire(parent)
        try:
            os.mkdir(name, _DIRECTORY_MODE, dir_fd=above.fd)
        except OSError as error:
            raise self.explained(path, error) from error
        finally:
            self.release(above)
        made = self.acquire(path)
        try:
            if stat.S_IMODE(os.fstat(made.fd).st_mode) != _DIRECTORY_MODE:
                os.fchmod(made.fd, _DIRECTORY_MODE)
        finally:
            self.release(made)

    def create(self, directory: Directory, name: str, mode: int) -> int:
        """A descriptor to write the new file `name` with; it has exactly `mode`."""
        try:
            fd = os.open(name, _OPEN_NEW, mode, dir_fd=directory.fd)
        except OSError as error:
            raise self.explained(f"{directory.path}/{name}", error) from error
        # Whether the umask spoils this mode is asked once, and the descriptor corrected only if it does.
        exact = self._exact.get(mode)
        if exact is None:
            exact = self._exact[mode] = stat.S_IMODE(os.fstat(fd).st_mode) == mode
        if not exact:
            os.fchmod(fd, mode)
        return fd

    def open(self, directory: Directory, name: str) -> int:
        """A descriptor to read the file `name` with."""
        try:
            return os.open(name, _OPEN_OLD, dir_fd=directory.fd)
        except OSError as error:
            raise self.explained(f"{directory.path}/{name}", error) from error

    def link(self, directory: Directory, name: str, target: str) -> None:
        """Creates the symbolic link `name`."""
        try:
            os.symlink(target, name, dir_fd=directory.fd)
        except OSError as error:
            raise self.explained(f"{directory.path}/{name}", error) from error

    @property
    def root(self) -> int:
        """The descriptor of the root, until `close`."""
        return self._open[""].fd

    def close(self) -> None:
        """Closes every descriptor; what was written stays."""
        while self._open:
            os.close(self._open.popitem()[1].fd)

    def _evict(self) -> None:
        if len(self._open) <= self._keep_open:
            return
        for path, directory in self._open.items():
            if not directory.users:
                del self._open[path]
                os.close(directory.fd)
                return

    def explained(self, path: str, error: OSError) -> IntegrityError | OSError:
        """What `error` means: we alone write here, so a name that is there, gone or a link was put by somebody else."""
        if error.errno not in _CHANGED:
            return error
        return IntegrityError(
            f"{shown(path)} was changed in the staging directory while it was being written",
            code="staging-changed",
            where=self._root,
            hint="another process works in this directory; end it and run again",
        )
