"""Files that appear complete or not at all, and locks that die with their holder.

Storage layer, below every storage that writes to a disk. Knows paths and bytes, nothing of OCI.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from provender.errors import Unavailable, Unsupported

__all__ = [
    "AtomicFile",
    "FileLock",
    "check_output",
    "is_temporary",
    "sync_directory",
    "temporary_name",
    "write_atomically",
]

_NOFOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
_CLOEXEC: Final[int] = getattr(os, "O_CLOEXEC", 0)
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)
_TEMPORARY = re.compile(r"\..{0,100}\.[0-9a-f]{16}\.tmp", re.DOTALL)
_BUSY = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NOT_WRITTEN: Final = 74  # EX_IOERR
_FIRST_PAUSE_S: Final = 0.002
_LONGEST_PAUSE_S: Final = 0.05
_LOCK_OFFSET: Final = 1 << 30  # Windows locks bytes against reading: one far behind the holder's id


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Put `content` at `path`: a reader, or a crash at any point, meets the old file or the new one, never a mix.

    `durable` also survives a power cut. A link at `path` is replaced, not followed.
    """
    with AtomicFile(path, mode=mode, durable=durable) as file:
        file.write(content)
        file.commit()
    if durable:
        sync_directory(path.parent)


def check_output(path: Path | str) -> None:
    """Refuse, before any work is done, a path at which no file can appear.

    Raises OSError (no directory there, or not ours to write to) and Unsupported (`special-file`: a device or a pipe,
    which a rename would take away from everybody; `no-stream`: `-`, which would be a file of that name).
    """
    if str(path) == "-":
        raise Unsupported(
            "this goes into a file, whole or not at all, and not to standard output",
            code="no-stream",
            where="-",
            hint="name a file",
            exit_status=2,
        )
    parent = os.path.dirname(path) or "."
    if not os.path.isdir(parent):
        code = errno.ENOTDIR if os.path.lexists(parent) else errno.ENOENT
        raise OSError(code, os.strerror(code), str(path))
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    _spare_special(path)


def _spare_special(path: Path | str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # nothing is there, or a link to nothing
    place = os.path.dirname(os.path.abspath(path))
    is_standard_stream = os.path.islink(path) and (place in ("/dev", "/dev/fd") or place.startswith("/proc/"))
    if is_standard_stream or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Unsupported(
            f"{path} is no regular file, so no file can take its place",
            code="special-file",
            where=str(path),
            hint="name a file",
            exit_status=_NOT_WRITTEN,
        )


def sync_directory(path: Path) -> None:
    """Make the renames in a directory survive a power cut, where the system can do that."""
    if os.name == "nt":
        return
    fd = os.open(path, os.O_RDONLY | _CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems without it
            raise
    finally:
        os.close(fd)


def temporary_name(name: str) -> str:
    """A name that nobody else uses, recognised by `is_temporary`, for what will become `name`."""
    return f".{name[:100]}.{os.urandom(8).hex()}.tmp"


def is_temporary(name: str) -> bool:
    """True for the name of an unfinished file of ours."""
    return _TEMPORARY.fullmatch(name) is not None


class AtomicFile:
    """A file in the making: `write` to it, then `commit` gives it its name.

    Leaving the `with` block without a commit, for whatever reason, leaves nothing behind. The temporary file lies
    beside `path` unless `temporary` names another place on the same file system. `mode` is narrowed by the umask.
    Errors name `path`. A device or a pipe there is never replaced: Unsupported (`special-file`).

    `unfinished` has the temporary file for as long as it may be there: whoever cannot wait for the thread that writes
    it, which may be long in making it durable, takes it away.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        mode: int = 0o644,
        durable: bool = True,
        temporary: Path | str | None = None,
        unfinished: set[str] | None = None,
    ) -> None:
        self._path = path
        self._durable = durable
        self._temporary = temporary or Path(path).with_name(temporary_name(Path(path).name))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC | _BINARY
        if temporary is None:
            _spare_special(path)
        self._unfinished = set() if unfinished is None else unfinished
        self._unfinished.add(os.fspath(self._temporary))  # before there is anything that it would have to say
        try:
            self._fd: int | None = os.open(self._temporary, flags, mode)
        except OSError as error:
            self._unfinished.discard(os.fspath(self._temporary))
            raise OSError(error.errno, error.strerror, str(path)) from None
        self._finished = False

    def write(self, chunk: bytes) -> None:
        """Append `chunk`, all of it."""
        if self._fd is None:
            raise ValueError("the file is finished")
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:  # of a descriptor, so it names no file: a full disk is to be found by the user
            raise OSError(error.errno, error.strerror, str(self._path)) from None

    def seal(self) -> None:
        """Finish writing, but leave the file without its name until `commit`."""
        if self._fd is None:
            raise ValueError("the file is finished")
        if self._durable:
            os.fsync(self._fd)
        self._close()

    def commit(self) -> None:
        """Give the file its name, replacing what has it now."""
        if self._finished:
            raise ValueError("the file is finished")
        try:
            if self._fd is not None:
                self.seal()
            os.replace(self._temporary, self._path)
            self._finished = True
            self._unfinished.discard(os.fspath(self._temporary))
        except OSError:
            self.discard()
            raise

    def discard(self) -> None:
        """Leave nothing behind; after a commit or another discard it does nothing."""
        if self._finished:
            return
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            os.unlink(self._temporary)
        self._finished = True  # only now: a second Ctrl-C that came before leaves it to be done
        self._unfinished.discard(os.fspath(self._temporary))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.discard()

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class FileLock:
    """An exclusive lock between processes and threads, owned by the kernel: a dead holder never blocks.

    `what` says in a message what the lock protects. `on_wait` is called once if somebody else holds it. `remove` takes
    the lock file away on release. Without `is_signed` nobody can tell who holds it, which saves three system calls.
    Not re-entrant: a holder that locks again waits for itself until the timeout.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        timeout_s: float,
        what: str,
        on_wait: Callable[[], None] | None = None,
        remove: bool = False,
        is_signed: bool = True,
    ) -> None:
        self._path = path
        self._is_signed = is_signed
        self._timeout_s = timeout_s
        self._what = what
        self._on_wait = on_wait
        self._remove = remove
        self._fd: int | None = None

    @property
    def fileno(self) -> int:
        """The descriptor of the lock file, which the holder may write to unless it is signed."""
        if self._fd is None:
            raise ValueError("the lock is not held")
        return self._fd

    def acquire(self) -> None:
        """Take the lock; Unavailable (code `locked`) after the timeout."""
        deadline = time.monotonic() + self._timeout_s
        pause_s = _FIRST_PAUSE_S
        waiting = False
        while not self.try_acquire():
            if not waiting and self._on_wait is not None:
                self._on_wait()
            waiting = True
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise self._locked()
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def try_acquire(self) -> bool:
        """True if the lock is ours now, without waiting."""
        if self._fd is not None:
            return False
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | _NOFOLLOW | _CLOEXEC | _BINARY, 0o666)
            try:
                if not self._lock(fd):
                    return False
                # Who removed the lock file while we waited for it left us a lock that nobody else can see.
                if _is_at(fd, self._path):
                    if self._is_signed:
                        _note_holder(fd)
                    fd, self._fd = -1, fd
                    return True
            finally:
                if fd >= 0:
                    os.close(fd)

    def release(self) -> None:
        """Give the lock back; without it, nothing happens."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        if self._remove:
            with suppress(OSError):
                os.unlink(self._path)
        os.close(fd)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.release()

    def _lock(self, fd: int) -> bool:
        try:
            _lock_now(fd)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            if error.errno in _NO_LOCKS:
                raise Unsupported(
                    f"the file system cannot lock files, so {self._what} cannot be changed safely",
                    code="no-file-locks",
                    where=str(self._path),
                    hint="use a directory on a local disk, or mount the network file system with locks",
                ) from error
            raise
        return True

    def _locked(self) -> Unavailable:
        holder = _holder(self._path)
        by = f"process {holder}" if holder else "another process"
        return Unavailable(
            f"{self._what} is locked by {by}; gave up after {self._timeout_s:g} s",
            code="locked",
            where=str(self._path),
            hint="wait until it is done and run again; the lock ends with its process",
        )


def _lock_now(fd: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(fd, _LOCK_OFFSET, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(fd: int, path: Path | str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _note_holder(fd: int) -> None:
    with suppress(OSError):  # a full disk takes nothing away from the lock
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, str(os.getpid()).encode())


def _holder(path: Path | str) -> int | None:
    try:
        with open(path, "rb") as file:
            text = file.read(20)
    except OSError:
        return None
    return int(text) if text.isdigit() else None
