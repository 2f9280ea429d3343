"""The modes of fetched files and directories, by the user's mask, as programs make them that create files plainly."""

from __future__ import annotations

import os
import stat

__all__ = ["settle_modes"]


def settle_modes(
    root: str, umask: int, *, root_mode: int | None = 0o700, directory_mode: int = 0o777, keeps_executable: bool = True
) -> None:
    """Give every file below `root` 0666 (0777 if it is executable), every directory `directory_mode`, less `umask`.

    `root_mode` is that of `root` itself, whatever the mask says; None treats it like the others.
    """
    for place, directories, names in os.walk(root):
        for name in names:
            path = os.path.join(place, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                wanted = 0o777 if keeps_executable and mode & stat.S_IXUSR else 0o666
                os.chmod(path, wanted & ~umask)
        for name in directories:
            path = os.path.join(place, name)
            if not os.path.islink(path):
                os.chmod(path, directory_mode & ~umask)
    os.chmod(root, directory_mode & ~umask if root_mode is None else root_mode)
