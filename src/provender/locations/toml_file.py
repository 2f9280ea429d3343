"""TOML files of other tools, read with bounds: plain data, or an error that names the file.

Below the readers of `registries.conf` and `hosts.toml`. Those files belong to other programs, so what provender does
not know in them is left alone; what it does know has to be right.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from provender.errors import InvalidProject

__all__ = ["read_toml"]

# Two threads that meet a type of msgspec for the first time crash the process.
_LEARNING: Final = threading.RLock()

_MAX_BYTES: Final = 1 << 20
_T = TypeVar("_T")


def read_toml(path: Path, model: type[_T], *, otherwise: str) -> _T | None:
    """The file at `path` as a `model`, whose unknown keys are ignored; None if there is no such file.

    Raises InvalidProject with the file, and with the line where the parser tells it; `otherwise` ends its hint.
    """
    raw = _read(path, otherwise)
    if raw is None:
        return None
    import tomllib  # few machines have such a file

    try:
        with _LEARNING:
            return msgspec.convert(tomllib.loads(raw.decode("utf-8")), model)
    except tomllib.TOMLDecodeError as error:
        raise _invalid(path, otherwise, f"not TOML: {error}") from error  # the text has line and column
    except UnicodeDecodeError as error:
        raise _invalid(path, otherwise, f"not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise _invalid(path, otherwise, "nested too deeply") from error
    except ValueError as error:  # a number or date beyond every limit, and what msgspec refuses
        raise _invalid(path, otherwise, str(error)[:300]) from error


def _read(path: Path, otherwise: str) -> bytes | None:
    try:
        # Without waiting: a pipe in place of the file would never have a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _invalid(path, otherwise, f"cannot be read: {error.strerror}") from error
    try:
        with open(descriptor, "rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _invalid(path, otherwise, f"cannot be read: {error.strerror}") from error
    if raw is None or len(raw) > _MAX_BYTES:
        raise _invalid(path, otherwise, f"longer than {_MAX_BYTES} bytes")
    return raw


def _invalid(path: Path, otherwise: str, why: str) -> InvalidProject:
    return InvalidProject(
        f"{path.name} is {why}" if why.startswith(("not ", "nested", "longer")) else f"{path.name}: {why}",
        code="invalid-container-settings",
        where=str(path),
        hint=f"correct the file, which other tools read as well, or {otherwise}",
    )
