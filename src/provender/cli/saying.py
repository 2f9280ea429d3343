"""What is said before the command line is imported: at once, or not at all."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as mypy knows it; importing `typing` would double the time of `--version`
if TYPE_CHECKING:
    from typing import TextIO


def said(stream: TextIO | None, text: str) -> bool:
    """True once `text` is written; False if nobody can be told.

    Not through the stream: it would keep what could not be written, and raise again whenever it is used.
    """
    if stream is None:
        return False
    rest = text.replace("\n", os.linesep).encode(stream.encoding or "utf-8", "backslashreplace")
    try:
        while rest:
            rest = rest[os.write(stream.fileno(), rest) :]
    except OSError:
        return False
    return True
