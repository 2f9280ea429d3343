"""Links on the way to a destination: a directory above it may be a symbolic link, which may lead anywhere.

Project layer, below `sync` and `check`. Looks, never writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from provender.errors import Conflict

__all__ = ["link_above", "refuse_links"]


def link_above(root: str, path: str) -> str | None:
    """The first symbolic link among the directories between `root` and the relative `path`; None if there is none."""
    above = path.split("/")[:-1]
    prefixes = ("/".join(above[:count]) for count in range(1, len(above) + 1))
    return next((prefix for prefix in prefixes if os.path.islink(os.path.join(root, prefix))), None)


def refuse_links(root: str, destinations: Iterable[str]) -> None:
    """Nothing, or Conflict if one of the `destinations` below `root` lies behind a link."""
    for to in destinations:
        link = link_above(root, to)
        if link is not None:
            raise Conflict(
                f"the destination {to} lies behind the symbolic link {link}",
                code="destination-behind-a-link",
                where=os.path.join(root, link),
                hint="put a directory in the link's place, or choose another destination with 'to'",
            )
