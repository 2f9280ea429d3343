"""YAML as Go programs of the Kubernetes family write it (sigs.k8s.io/yaml), byte for byte. Pure.

Keys are sorted "naturally" (letters after other characters, numbers by value), lists are not indented below their key,
lines are folded at 80 columns, and text that would be read as another type is put in double quotes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import cmp_to_key
from typing import Final

from provender.settings.go_scalar import is_timestamp, resolve

__all__ = ["dump"]

_WIDTH: Final = 80
_MAX_KEY_BYTES: Final = 128

_BASE_60: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")

_ESCAPES: Final = {
    0x00: "0",
    0x07: "a",
    0x08: "b",
    0x09: "t",
    0x0A: "n",
    0x0B: "v",
    0x0C: "f",
    0x0D: "r",
    0x1B: "e",
    0x22: '"',
    0x5C: "\\",
    0x85: "N",
    0xA0: "_",
    0x2028: "L",
    0x2029: "P",
}
_BREAKS: Final = frozenset("\r\n\x85\u2028\u2029")
_FIRST_INDICATORS: Final = frozenset("#,[]{}&*!|>'\"%@`")


def dump(value: object) -> str:
    """The document for `value`: dict with text keys, list, str, bool, int, float and None."""
    writer = _Writer()
    writer.node(value, indent=0, in_mapping=False)
    writer.end()
    return writer.text()


class _Shape:
    """Which styles a text may be written in."""

    __slots__ = ("block", "is_multiline", "plain", "single")

    def __init__(self, text: str) -> None:
        self.is_multiline = any(char in _BREAKS for char in text)
        if not text:
            self.plain, self.single, self.block = True, True, False
            return
        pairs = list(zip(text, (*text[1:], ""), strict=True))
        space_break = any(a == " " and b in _BREAKS for a, b in pairs)
        break_space = any(a in _BREAKS and b == " " for a, b in pairs)
        is_special = not all(_is_printable(char) for char in text)
        is_edged = text[0] in _BREAKS or text[0] == " " or text[-1] in _BREAKS or text[-1] == " "
        self.plain = not (
            is_edged or break_space or space_break or is_special or self.is_multiline or _has_indicator(text)
        )
        self.single = not (break_space or space_break or is_special)
        self.block = not (text[-1] == " " or space_break or is_special)


class _Writer:
    """The emitter: what is written so far, and where in the line it stands."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._column = 0
        self._after_space = True  # nothing but white space or an indicator that wants one was written last
        self._in_indent = True  # the line holds only indentation and dashes

    def text(self) -> str:
        return "".join(self._parts)

    def end(self) -> None:
        self._indent(0)

    def node(self, value: object, *, indent: int, in_mapping: bool) -> None:
        """A value whose children stand at `indent`."""
        if isinstance(value, dict):
            self._mapping(value, indent)
        elif isinstance(value, list | tuple):
            # Below a key a list is not indented, unless the key itself opened the line's indentation.
            self._sequence(value, indent - 2 if in_mapping and not self._in_indent else indent)
        else:
            self._scalar(value, indent=indent, is_key=False)

    def _mapping(self, value: dict[str, object], indent: int) -> None:
        if not value:
            self._indicator("{", needs_space=True)
            self._indicator("}")
            return
        for key in _sorted(value):
            self._indent(indent)
            if len(key.encode()) <= _MAX_KEY_BYTES and not _Shape(key).is_multiline:
                self._scalar(key, indent=indent + 2, is_key=True)
                self._indicator(":")
            else:
                self._indicator("?", needs_space=True, is_indentation=True)
                self._scalar(key, indent=indent + 2, is_key=False)
                self._indent(indent)
                self._indicator(":", needs_space=True, is_indentation=True)
            self.node(value[key], indent=indent + 2, in_mapping=True)

    def _sequence(self, value: Iterable[object], indent: int) -> None:
        items = list(value)
        if not items:
            self._indicator("[", needs_space=True)
            self._indicator("]")
            return
        for item in items:
            self._indent(indent)
            self._indicator("-", needs_space=True, is_indentation=True)
            self.node(item, indent=indent + 2, in_mapping=False)

    def _scalar(self, value: object, *, indent: int, is_key: bool) -> None:
        if not isinstance(value, str):
            self._plain(_number(value), indent, folds=not is_key)
            return
        shape = _Shape(value)
        is_text = _reads_as_text(value)
        if "\n" in value and shape.block and not is_key:
            self._literal(value, indent)
        elif "\n" not in value and is_text and shape.plain:
            self._plain(value, indent, folds=not is_key)
        elif "\n" not in value and is_text and shape.single:
            self._single(value, indent, folds=not is_key)
        else:
            self._double(value, indent, folds=not is_key)

    # --- styles

    def _plain(self, text: str, indent: int, *, folds: bool) -> None:
        if not self._after_space:
            self._put(" ")
        self._folded(text, indent, folds=folds, is_quoted=False)
        self._after_space = self._in_indent = False

    def _single(self, text: str, indent: int, *, folds: bool) -> None:
        self._indicator("'", needs_space=True)
        self._folded(text, indent, folds=folds, is_quoted=True)
        self._indicator("'")

    def _folded(self, text: str, indent: int, *, folds: bool, is_quoted: bool) -> None:
        was_space = was_break = False
        for at, char in enumerate(text):
            following = text[at + 1 : at + 2]
            if char == " ":
                may_fold = folds and not was_space and self._column > _WIDTH and following != " "
                if may_fold and (not is_quoted or 0 < at < len(text) - 1):
                    self._indent(indent)
                else:
                    self._put(char)
                was_space = True
            elif char in _BREAKS:
                if not was_break and char == "\n":
                    self._break()
                self._break(char)
                self._in_indent = was_break = True
            else:
                if was_break:
                    self._indent(indent)
                self._put("''" if is_quoted and char == "'" else char)
                self._in_indent = was_space = was_break = False

    def _double(self, text: str, indent: int, *, folds: bool) -> None:
        self._indicator('"', needs_space=True)
        was_space = False
        size = len(text.encode())
        at = 0  # in bytes, as the limits of the emitter count
        for number, char in enumerate(text):
            if not _is_printable(char) or char in _BREAKS or char in '"\\':
                self._put(_escaped(char))
                was_space = False
            elif char == " ":
                if folds and not was_space and self._column > _WIDTH and 0 < at < size - 1:
                    self._indent(indent)
                    if text[number + 1 : number + 2] == " ":
                        self._put("\\")
                else:
                    self._put(char)
                was_space = True
            else:
                self._put(char)
                was_space = False
            at += len(char.encode("utf-8", "surrogatepass"))
        self._indicator('"')

    def _literal(self, text: str, indent: int) -> None:
        self._indicator("|", needs_space=True)
        if text[0] == " " or text[0] in _BREAKS:
            self._indicator("2")
        if text[-1] not in _BREAKS:
            self._indicator("-")
        elif len(text) == 1 or text[-2] in _BREAKS:
            self._indicator("+")
        self._break()
        self._in_indent = self._after_space = was_break = True
        for char in text:
            if char in _BREAKS:
                self._break(char)
                self._in_indent = was_break = True
            else:
                if was_break:
                    self._indent(indent)
                self._put(char)
                self._in_indent = was_break = False

    # --- characters

    def _put(self, text: str) -> None:
        self._parts.append(text)
        self._column += len(text)

    def _break(self, char: str = "\n") -> None:
        self._parts.append(char)
        self._column = 0

    def _indent(self, indent: int) -> None:
        if not self._in_indent or self._column > indent or (self._column == indent and not self._after_space):
            self._break()
        if self._column < indent:
            self._put(" " * (indent - self._column))
        self._after_space = self._in_indent = True

    def _indicator(self, text: str, *, needs_space: bool = False, is_indentation: bool = False) -> None:
        if needs_space and not self._after_space:
            self._put(" ")
        self._put(text)
        self._after_space = False
        self._in_indent = self._in_indent and is_indentation


def _number(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            return ".nan" if math.isnan(value) else (".inf" if value > 0 else "-.inf")
        return repr(value).removesuffix(".0")
    return str(value)


def _reads_as_text(text: str) -> bool:
    """False if the text, written plainly, would be read as a value of another type."""
    return isinstance(resolve(text), str) and not is_timestamp(text) and _BASE_60.fullmatch(text) is None


def _is_printable(char: str) -> bool:
    point = ord(char)
    return point == 0x0A or 0x20 <= point <= 0x7E or (0xA0 <= point <= 0xFFFD and point != 0xFEFF)


def _has_indicator(text: str) -> bool:
    """True if a character would mean something to a reader, outside of quotes in a block."""
    if text[:3] in ("---", "...") or text[0] in _FIRST_INDICATORS:
        return True
    before = " "
    for at, char in enumerate(text):
        following = text[at + 1 : at + 2]
        is_followed = following == "" or following in " \t"
        if char == ":" and is_followed:
            return True
        if at == 0 and char in "?-" and is_followed:
            return True
        if at and char == "#" and (before in " \t\0" or before in _BREAKS):
            return True
        before = char
    return False


def _escaped(char: str) -> str:
    point = ord(char)
    short = _ESCAPES.get(point)
    if short is not None:
        return f"\\{short}"
    if point <= 0xFF:
        return f"\\x{point:02X}"
    return f"\\u{point:04X}" if point <= 0xFFFF else f"\\U{point:08X}"


def _sorted(value: dict[str, object]) -> list[str]:
    return sorted(value, key=cmp_to_key(_compare))


def _compare(one: str, other: str) -> int:
    """Natural order of keys: numbers by value, other characters before letters."""
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a == b:
            continue
        if a.isalpha() and b.isalpha():
            return -1 if a < b else 1
        if a.isalpha() or b.isalpha():
            return -1 if b.isalpha() else 1
        return _compare_numbers(one, other, at)
    return len(one) - len(other)


def _compare_numbers(one: str, other: str, at: int) -> int:
    lead = 1 if "0" in (one[at], other[at]) and _follows_digits(one, at) else 0
    (first, first_end), (second, second_end) = _digits(one, at, lead), _digits(other, at, lead)
    if first != second:
        return -1 if first < second else 1
    if first_end != second_end:
        return first_end - second_end
    return -1 if one[at] < other[at] else 1


def _follows_digits(text: str, at: int) -> bool:
    for char in reversed(text[:at]):
        if not char.isdecimal():
            return False
        if char != "0":
            return True
    return False


def _digits(text: str, at: int, lead: int) -> tuple[int, int]:
    number, end = lead, at
    while end < len(text) and text[end].isdecimal():
        number = number * 10 + ord(text[end]) - ord("0")
        end += 1
    return number, end
