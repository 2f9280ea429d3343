"""The lock on disk: read where there is one, written in one step and only when its bytes change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from provender.dialects.vendir.config import within
from provender.dialects.vendir.lock import LOCK_MODE, LockConfig
from provender.errors import InvalidProject, NotFound, ProvenderError
from provender.project.capped import read_capped

__all__ = ["OnRollBack", "read_lock", "write_lock"]

OnRollBack = Callable[[Callable[[], None]], None]
"""Takes what is to be done if everything is taken back."""

_MAX_BYTES: Final = 8 << 20


def read_lock(path: str, *, is_required: bool) -> LockConfig | None:
    """The lock in the file; without `is_required` None for one that is not there or cannot be used, as in vendir.

    Raises NotFound (code `no-lock`) and InvalidProject.
    """
    try:
        return LockConfig.parse(read_capped(Path(path), _MAX_BYTES), where=path)
    except (FileNotFoundError, IsADirectoryError) as error:
        if is_required:
            raise NotFound(
                f"Reading lock config '{path}': open {path}: no such file or directory",
                code="no-lock",
                where=path,
                hint="run sync once without --locked, and commit the lock",
            ) from error
    except InvalidProject as error:
        if is_required:
            raise error.at(path) from error
    return None


def write_lock(path: str, content: bytes, on_roll_back: OnRollBack) -> None:
    """Have the file hold a lock. The way to take that back is given to `on_roll_back` before anything is written."""
    from provender.storage.files import write_atomically

    target = Path(os.path.realpath(path))  # a link stays a link
    try:
        before = read_capped(target, _MAX_BYTES)
        mode = target.stat().st_mode & 0o777
    except FileNotFoundError:
        before, mode = None, LOCK_MODE
    if content == before:
        return

    def undo() -> None:
        if before is None:
            target.unlink(missing_ok=True)
        else:
            write_atomically(target, before, mode=mode)

    on_roll_back(undo)
    try:
        write_atomically(target, content, mode=mode)
    except ProvenderError as error:
        raise within(error, "Writing lock config") from error
