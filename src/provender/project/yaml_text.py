"""One section of a YAML file edited as text: the parser says where an entry is, and only those characters change.

Project layer; pure. A round trip through a YAML library would lay out the whole file anew. The text has been read
strictly before (bounded, no aliases), and whoever edits reads the result again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from provender.settings import load_tree

if TYPE_CHECKING:
    import yaml

__all__ = ["SectionText", "Value"]

Value = str | Sequence["Value"] | Mapping[str, "Value"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@+~-]*(?::[A-Za-z0-9_./@+~-]+)*")
_USUAL_INDENT: Final = 2


class _Line(msgspec.Struct, frozen=True):
    """One line: where it starts and ends (with its line break), and what it holds."""

    start: int
    end: int
    text: str

    @property
    def is_blank(self) -> bool:
        return not self.text.strip()

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip(" "))

    def is_comment(self, indent: int) -> bool:
        """True for a comment and nothing else, indented at least that far."""
        return self.text.lstrip(" ").startswith("#") and self.indent >= indent


class SectionText:
    """The mapping under the top-level key `name` of a YAML text; `add` and `remove` give a new text.

    Comments, order, quotes, indentation and line ends of everything else stay as they are.
    """

    def __init__(self, text: str, name: str) -> None:
        import yaml

        self._text = text
        self._name = name
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        root = yaml.compose(text, Loader=loader)
        if not isinstance(root, yaml.MappingNode):
            raise TypeError("the text is not a mapping")
        self._root = root
        self._key: yaml.Node | None = None
        self._section: yaml.Node | None = None
        for key, value in _entries(root):
            if key.value == name:
                self._key, self._section = key, value
        self._eol = "\r\n" if "\r\n" in text else "\n"
        self._lines = _lines(text)

    def add(self, name: str, value: Value) -> str:
        """The text with one entry more, behind the others."""
        section = self._section
        if section is None:
            if _is_flow(self._root):
                return self._insert_flow(self._root, f"{self._name}: {{{_scalar(name)}: {_flow(value)}}}")
            return self._append_section(name, value)
        if _is_flow(section) and (self._holds_something(section) or _is_flow(self._root)):
            return self._insert_flow(section, f"{_scalar(name)}: {_flow(value)}")
        if _entries(section):
            return self._insert_block(section, name, value)
        if section.end_mark.index > section.start_mark.index:
            return self._emptied(section).add(name, value)
        return self._insert_first(name, value)

    def remove(self, name: str) -> str:
        """The text without the entry, its comments on its lines and inside of it; comments above it stay.

        KeyError without such an entry.
        """
        entries = _entries(self._section)
        number = next((i for i, (key, _) in enumerate(entries) if key.value == name), None)
        if number is None:
            raise KeyError(name)
        return self._remove_flow(entries, number) if _is_flow(self._section) else self._remove_block(entries, number)

    # In braces.

    def _insert_flow(self, node: yaml.Node, entry: str) -> str:
        if node.value:
            at = node.value[-1][1].end_mark.index
            return f"{self._text[:at]}, {entry}{self._text[at:]}"
        at = node.start_mark.index + 1
        return self._text[:at] + entry + self._text[at:]

    def _remove_flow(self, entries: list[tuple[yaml.Node, yaml.Node]], number: int) -> str:
        key, value = entries[number]
        start, end = key.start_mark.index, value.end_mark.index
        comma = re.compile(r"[ \t]*,[ \t]*").match(self._text, end)
        if comma is not None:
            end = comma.end()
        elif number > 0:
            before = entries[number - 1][1].end_mark.index
            if "#" not in self._text[before:start]:
                start = before
        return self._text[:start] + self._text[end:]

    def _holds_something(self, section: yaml.Node) -> bool:
        return bool(self._text[section.start_mark.index + 1 : section.end_mark.index - 1].strip())

    # In lines.

    def _append_section(self, name: str, value: Value) -> str:
        at = self._root.end_mark.index
        indent = self._usual_indent()
        block = f"{self._eol}{self._name}:{self._eol}{_block(name, value, indent, indent, self._eol)}"
        return self._insert_at(at, block)

    def _insert_block(self, section: yaml.Node, name: str, value: Value) -> str:
        entries = _entries(section)
        column = entries[0][0].start_mark.column
        nested = next((inner for _, inner in entries if _entries(inner) and not _is_flow(inner)), None)
        step = nested.start_mark.column - column if nested is not None else column or _USUAL_INDENT
        block = _block(name, value, column, step, self._eol)
        if self._has_gaps(entries):
            block = self._eol + block
        last = self._past_comments(self._last_line(entries[-1][1]), column)
        return self._insert_at(self._lines[last].end, block)

    def _insert_first(self, name: str, value: Value) -> str:
        """The first entry of a section without a value, behind the comments that are indented below its key."""
        line = self._line_of(self._key.start_mark.index) if self._key is not None else 0
        last = self._past_comments(line, 1)
        indent = self._lines[last].indent if last > line else self._usual_indent()
        return self._insert_at(self._lines[last].end, _block(name, value, indent, self._usual_indent(), self._eol))

    def _emptied(self, section: yaml.Node) -> SectionText:
        """The same with nothing where the section now says `null` or `{}`."""
        before, after = self._text[: section.start_mark.index], self._text[section.end_mark.index :]
        return SectionText(before.rstrip(" ") + after, self._name)

    def _remove_block(self, entries: list[tuple[yaml.Node, yaml.Node]], number: int) -> str:
        key, value = entries[number]
        first = self._line_of(key.start_mark.index)
        last = self._past_comments(self._last_line(value), key.start_mark.column + 1)
        if first and self._lines[first - 1].is_blank:
            # Of the blank lines around an entry one goes with it.
            if last + 1 < len(self._lines) and self._lines[last + 1].is_blank:
                last += 1
            elif number == len(entries) - 1:
                first -= 1
        head, tail = self._text[: self._lines[first].start], self._text[self._lines[last].end :]
        if not tail and not self._text.endswith(("\n", "\r")):
            head = head.rstrip("\r\n")
        if len(entries) == 1 and self._key is not None:
            # The section stays, empty; its mark goes behind the colon, before a comment.
            colon = self._text.index(":", self._key.end_mark.index) + 1
            head = f"{head[:colon]} {{}}{head[colon:]}"
        return head + tail

    # Places.

    def _insert_at(self, at: int, block: str) -> str:
        before, after = self._text[:at], self._text[at:]
        if not before or before.endswith(("\n", "\r")):
            return before + block + after
        return before + self._eol + block.removesuffix(self._eol) + after

    def _usual_indent(self) -> int:
        indents = (value.start_mark.column for _, value in self._root.value if _entries(value) and not _is_flow(value))
        return next((indent for indent in indents if indent), _USUAL_INDENT)

    def _line_of(self, index: int) -> int:
        return next((i for i, line in enumerate(self._lines) if index < line.end), len(self._lines) - 1)

    def _last_line(self, node: yaml.Node) -> int:
        """The last line with something of a value; a block's own end mark lies behind the comments that follow."""
        while isinstance(node.value, list) and node.value and not _is_flow(node):
            last = node.value[-1]
            node = last[1] if isinstance(last, tuple) else last
        first = self._line_of(node.start_mark.index)
        number = self._line_of(max(node.start_mark.index, node.end_mark.index - 1))
        while number > first and self._lines[number].is_blank:
            number -= 1
        return number

    def _past_comments(self, number: int, indent: int) -> int:
        """The last line of the comments behind a line that are indented at least that far."""
        for following in range(number + 1, len(self._lines)):
            if self._lines[following].is_comment(indent):
                number = following
            elif not self._lines[following].is_blank:
                break
        return number

    def _has_gaps(self, entries: list[tuple[yaml.Node, yaml.Node]]) -> bool:
        """True if the last two entries stand apart."""
        if len(entries) < 2:
            return False
        first = self._last_line(entries[-2][1])
        second = self._line_of(entries[-1][0].start_mark.index)
        return any(line.is_blank for line in self._lines[first + 1 : second])


def _lines(text: str) -> list[_Line]:
    found = re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)
    return [_Line(each.start(), each.end(), each[0].rstrip("\r\n")) for each in found]


def _entries(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    """The keys and values of a mapping; none of anything else."""
    value = node.value if node is not None else None
    return [each for each in value if isinstance(each, tuple)] if isinstance(value, list) else []


def _is_flow(node: yaml.Node | None) -> bool:
    """True for a collection in braces or brackets."""
    return bool(getattr(node, "flow_style", False))


def _block(name: str, value: Value, indent: int, step: int, eol: str) -> str:
    """An entry as lines, each with its line break."""
    head = f"{' ' * indent}{_scalar(name)}:"
    if not isinstance(value, Mapping) or not value:
        return f"{head} {_flow(value)}{eol}"
    return head + eol + "".join(_block(key, inner, indent + step, step, eol) for key, inner in value.items())


def _flow(value: Value) -> str:
    """A value on one line."""
    if isinstance(value, str):
        return _scalar(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(_flow(inner) for inner in value) + "]"


def _scalar(text: str) -> str:
    """Text as it is where that is text in YAML too, else in double quotes."""
    if _PLAIN.fullmatch(text) is not None and load_tree(text, where="").value == text:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
