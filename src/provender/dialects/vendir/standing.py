"""What a run that had nothing to do looked at, so that the next one need not even read the configuration.

An index as the project's own (`project.stat_index`): while every file and directory looks as it did, the same command
line says the same again. Whatever is in doubt makes no index.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from provender.dialects.vendir.record import RECORDS_FILE, ContentsRecord
from provender.project.stat_index import encode_index
from provender.project.state import STATE_DIRECTORY, Inputs

__all__ = ["Standing"]


class Standing(msgspec.Struct, frozen=True):
    """Contents that lie in the working directory `root` as they are wanted, by their absolute paths.

    Of those without a record (`manual`, lazy) only the directory counts. `managed` are the managed directories.
    """

    root: str
    managed: tuple[str, ...]
    contents: tuple[tuple[str, ContentsRecord | None], ...]

    def write(self, name: str, inputs: Inputs, names: Sequence[str], note: bytes) -> None:
        """Put the index down as `name`; `inputs` tell how the files `names` looked before they were read."""
        around_names = [f"{STATE_DIRECTORY}/{RECORDS_FILE}", *sorted({self._relative(each) for each in self._around()})]
        if any(name.startswith("../") or name in (".", "..") for name in around_names):
            return  # what a killed run left beside a directory elsewhere is noted nowhere
        around = Inputs.record(Path(self.root), around_names)
        if not (inputs.are_certain and around.are_certain):
            return
        if len(inputs.files) != len(names) or len(around.files) != len(around_names):
            return
        laid = {self._relative(path): record.laid for path, record in self.contents if record is not None}
        if not all(each.is_certain for each in laid.values()):
            return
        from provender.storage.files import write_atomically

        tree = [look for to, each in laid.items() for look in each.looks(to)]
        with suppress(OSError, OverflowError, ValueError):  # without it the next run takes longer
            content = encode_index([*inputs.looks(), *around.looks()], tree, dependencies=len(laid), note=note)
            write_atomically(Path(self.root, STATE_DIRECTORY, name), content, durable=False)

    def _around(self) -> Iterator[str]:
        """The directories in which nothing may lie but contents, and those of which nothing else is known."""
        yield from self.managed
        for path, record in self.contents:
            if record is None:
                yield path
            parent = os.path.dirname(path)
            while any(parent.startswith(f"{top}/") for top in self.managed):
                yield parent
                parent = os.path.dirname(parent)

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self.root)
