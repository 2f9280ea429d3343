"""What commands that write have in common: the time, consent, and where fetched content goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provender.cli.console import Console, clean

if TYPE_CHECKING:
    from provender.storage.abilities import BlobReader

__all__ = ["agreed", "epoch", "read_input", "write_content"]

_CHUNK_BYTES = 1 << 20


def epoch() -> int | None:
    """The seconds of SOURCE_DATE_EPOCH; None without it."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not text.isdigit():
        raise click.UsageError(f"SOURCE_DATE_EPOCH is not a number of seconds: {text[:40]!r}")
    return int(text)


def agreed(console: Console, question: str, *, force: bool) -> bool:
    """True if the user agrees to what cannot be undone; without a terminal only `--force` does."""
    if force:
        return True
    if not sys.stdin.isatty() or console.is_json:
        raise click.UsageError("there is no terminal to ask on; give --force to delete without being asked")
    return click.confirm(clean(question), err=True)


def read_input(name: str, limit: int, what: str) -> bytes:
    """The content of a file, or of stdin for `-`. Raises NotFound (`no-such-file`); a usage error beyond `limit`."""
    from provender.errors import NotFound

    try:
        with click.open_file(name, "rb") as file:
            content: bytes = file.read(limit + 1)
    except FileNotFoundError as error:
        raise NotFound(f"no such file: {name}", code="no-such-file", where=name, hint="check the path") from error
    if len(content) > limit:
        raise click.UsageError(f"{name} is over {limit} bytes, so it is no {what}")
    return content


def write_content(console: Console, reader: BlobReader, output: str | None, *, limit: int | None = None) -> int:
    """How many bytes went to the file `output`, whole or not at all, or to stdout (None or `-`); at most `limit`."""
    if output in (None, "-"):
        return _drain(reader, console.raw, limit)
    from provender.storage.files import AtomicFile

    with AtomicFile(Path(str(output)), durable=False) as file:
        total = _drain(reader, file.write, limit)
        file.commit()
    return total


def _drain(reader: BlobReader, sink: Callable[[bytes], None], limit: int | None) -> int:
    total = 0
    while limit is None or total < limit:
        chunk = reader.read(_CHUNK_BYTES if limit is None else min(_CHUNK_BYTES, limit - total))
        if not chunk:
            break
        sink(chunk)
        total += len(chunk)
    return total
