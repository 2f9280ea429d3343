"""A working directory: inside the user's directory, so that finished files arrive by rename, or of this user alone.

Artifact layer. It is held by a lock that dies with its holder: the next one removes what a killed run left, and nothing
that is in use.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

__all__ = ["packing_directory", "scratch_directory"]

_PREFIX: Final = ".provender-pull-"


@contextmanager
def scratch_directory(parent: str, *, mode: int = 0o700, becomes: str | None = None) -> Iterator[str]:
    """A fresh directory in `parent`, removed at the end unless it got another name; those of killed runs go now.

    It has `mode`, narrowed by the umask. If it cannot be made, the OSError names `becomes`, or `parent`.
    """
    with _opened(parent) as whole:
        fcntl.flock(whole, fcntl.LOCK_EX)  # nobody sweeps between the making and the locking of the directory
        for name in os.listdir(parent):
            if name.startswith(_PREFIX):
                _remove_if_left(os.path.join(parent, name))
        path = os.path.join(parent, f"{_PREFIX}{os.urandom(8).hex()}")
        try:
            os.mkdir(path, mode)
        except OSError as error:
            raise OSError(error.errno, error.strerror, becomes or parent) from None
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        _remove(path)
        os.close(held)


@contextmanager
def packing_directory() -> Iterator[str]:
    """A fresh directory among the system's temporary ones, removed at the end; those of killed runs are removed now."""
    import tempfile

    parent = os.path.join(tempfile.gettempdir(), f"provender-{os.getuid()}")
    with suppress(FileExistsError):
        os.mkdir(parent, 0o700)
    status = os.lstat(parent)
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
        with scratch_directory(parent) as path:
            yield path
        return
    # The name is somebody else's: nothing of ours goes there.
    with tempfile.TemporaryDirectory(prefix="provender-") as path:
        yield path


@contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _remove_if_left(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # a file or link of somebody else's, or gone
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(path)
    except BlockingIOError:
        return  # in use
    finally:
        os.close(fd)


def _remove(path: str) -> None:
    """Removes the directory, as far as that can be done; most often all that was in it has moved away."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return
    except OSError:
        import shutil

        shutil.rmtree(path, ignore_errors=True)
