"""The fetchers of a vendir run, made from its configuration and the environment. Part of the composition root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from provender.cli.console import Console

if TYPE_CHECKING:
    from provender.dialects.vendir.fetch import Fetcher
    from provender.dialects.vendir.schema import Config
    from provender.dialects.vendir.secrets import References

__all__ = ["fetchers"]


@contextmanager
def fetchers(console: Console, references: References, config: Config, *, jobs: int) -> Iterator[dict[str, Fetcher]]:
    """The fetchers by the source's name; what they keep open is closed at the end."""
    from provender.dialects.vendir.local import DirectoryFetcher, InlineFetcher

    del console, config, jobs
    yield {"inline": InlineFetcher(references), "directory": DirectoryFetcher()}
