"""Where a project is: the nearest `provender.yaml`.

Project layer, below the manifest, so that commands which work without a project need not import its model.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from provender.errors import NotFound

__all__ = ["MANIFEST_NAME", "find_manifest", "no_manifest"]

MANIFEST_NAME: Final = "provender.yaml"


def find_manifest(start: Path) -> Path:
    """The nearest `provender.yaml` in `start` or above it, up to the home directory or the root; else NotFound."""
    home = Path(os.path.expanduser("~"))
    first = Path(os.path.abspath(start))
    for directory in (first, *first.parents):
        path = directory / MANIFEST_NAME
        if path.is_file():
            return path
        if directory == home:
            break
    raise no_manifest(str(first))


def no_manifest(where: str) -> NotFound:
    """The error of a command that needs a project where there is none."""
    return NotFound(
        f"there is no {MANIFEST_NAME}",
        code="no-manifest",
        where=where,
        hint="run 'provender init' to begin one, or change to the project's directory",
    )
