"""A directory made empty, for a second attempt to fill it. Project layer."""

from __future__ import annotations

import os
import shutil

__all__ = ["empty"]


def empty(directory: str) -> None:
    """Remove everything in `directory`; links are removed, not followed."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
