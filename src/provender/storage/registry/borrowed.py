"""What every body of an upload has in common: its content is somebody else's to close.

Registry layer, below the uploader and the bodies that it sends.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

__all__ = ["Borrowed"]


class Borrowed:
    """A reader, but for `read`, that leaves what it reads from open."""

    def close(self) -> None:
        """Nothing: whoever gave the content closes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
