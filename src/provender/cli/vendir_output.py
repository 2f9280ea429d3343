"""What `vendir` prints: lines on a terminal only, blocks and tables always; all as one JSON document with --json."""

from __future__ import annotations

import json
import re
from typing import Final

from provender.cli.console import clean

__all__ = ["VendirOutput", "multi_line"]

_CAUSE: Final = re.compile(r": (?=[A-Z])")
_OPENING: Final = "([{"
_CLOSING: Final = ")]}"
_ESCAPED: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class VendirOutput:
    """The pieces of a run's output; `write` puts text on stdout. Between lines and blocks stands an empty line."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._said: list[str] = []
        self._last: str | None = None
        self._lines: list[str] = []
        self._blocks: list[str] = []
        self._tables: list[dict[str, object]] = []
        self.is_terminal = False
        self.is_json = False
        self.has_color = True
        self.hidden: frozenset[str] = frozenset()
        """Columns that --column left out."""

    def line(self, text: str) -> None:
        """A remark on the way: what is being fetched, `Succeeded`."""
        self._lines.append(text)
        if self.is_terminal and not self.is_json:
            self._pad("auto")
            self._pieces.append(f"{clean(text)}\n")

    def block(self, text: str) -> None:
        """A configuration or lock."""
        self._blocks.append(text)
        if not self.is_json:
            self._pad("raw")
            self._pieces.append(clean(text))

    def table(self, title: str, header: str, rows: list[str]) -> None:
        """A table of one column."""
        key = header.lower()
        is_hidden = key in self.hidden
        self._tables.append(
            {
                "Content": "",
                "Header": {} if is_hidden else {key: header},
                "Rows": [{} if is_hidden else {key: row} for row in rows],
                "Notes": None,
            }
        )
        if self.is_json:
            return
        self._pad("auto")
        border = "  " if self.is_terminal else "\t"
        if self.is_terminal:
            self._pieces.append(f"{title}\n\n")
            if not is_hidden:
                self._pieces.append(f"{header}{border}\n")
        self._pieces += [f"{'' if is_hidden else clean(row) + border}\n" for row in rows]

    def take(self) -> str:
        """What is to be printed by now."""
        text = "".join(self._pieces)
        self._pieces.clear()
        self._said.append(text)
        return text

    def finish(self) -> str:
        """What is left to be printed at the end of a run that succeeded."""
        if self.is_json and (self._lines or self._blocks or self._tables):
            document = {"Tables": self._tables or None, "Blocks": self._blocks or None, "Lines": self._lines or None}
            text = json.dumps(document, indent=4, ensure_ascii=False)
            self._pieces.append("".join(_ESCAPED.get(char, char) for char in text))
        return self.take()

    @property
    def said(self) -> str:
        """All that was given to be printed."""
        return "".join(self._said)

    def _pad(self, mode: str) -> None:
        if self._last is not None and not (self._last == "raw" and mode == "raw"):
            self._pieces.append("\n")
        self._last = mode


def multi_line(message: str) -> str:
    """A chain of causes with each on a line of its own, indented by two more spaces; what is in brackets stays."""
    first, newline, rest = message.partition("\n")
    depth = 0
    cuts: list[int] = []
    ends = {match.start() for match in _CAUSE.finditer(first)}
    for at, char in enumerate(first):
        if char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth -= 1
        elif depth == 0 and at in ends:
            cuts.append(at)
    pieces: list[str] = []
    start = 0
    for cut in cuts:
        pieces.append(f"{first[start:cut]}:")
        start = cut + 2
    pieces.append(first[start:])
    return "\n".join("  " * number + piece for number, piece in enumerate(pieces)) + newline + rest
