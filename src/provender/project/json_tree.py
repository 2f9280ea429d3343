"""A strict JSON reader with positions: the same `Tree` as the YAML reader gives, for files that programs write.

Project layer; pure. Used where something is wrong and the place has to be told, not on the fast path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecoder
from typing import Final

import msgspec

from provender.errors import InvalidProject
from provender.settings import Tree
from provender.settings.reader import Node

__all__ = ["load_json_tree"]

_MAX_DEPTH: Final = 32
_TOKEN: Final = re.compile(
    r'[ \t\r\n]*(?:(?P<mark>[{}\[\],:])|(?P<quote>")|(?P<word>true|false|null)'
    r"|(?P<number>-?(?:0|[1-9][0-9]{0,299})(?:\.[0-9]{1,300})?(?:[eE][-+]?[0-9]{1,3})?))"
)
_WORDS: Final = {"true": True, "false": False, "null": None}
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class _Token(msgspec.Struct, frozen=True):
    """One token: its kind, its value, and where it begins."""

    kind: str
    value: str | int | float | bool | None
    start: int


def load_json_tree(raw: bytes, *, where: str) -> Tree:
    """The JSON document in `raw` with positions; InvalidProject (`invalid-json`, `duplicate-key`) at line and column.

    Strict: UTF-8 without lone surrogates, no duplicate key, no NaN, at most 32 levels.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidProject("the file is not UTF-8", code="invalid-json", where=where) from error
    return Tree(where, _Reader(text, where).read())


class _Reader:
    """One pass over the tokens of one text."""

    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._line, self._line_start = 1, 0
        self._strings = JSONDecoder()

    def read(self) -> Node:
        tokens = self._tokens()
        node = self._value(next(tokens), tokens, 0)
        after = next(tokens)
        if after.kind != "end":
            raise self._refused(after.start, "there is text after the end of the document")
        return node

    def _tokens(self) -> Iterator[_Token]:
        text, at = self._text, 0
        while found := _TOKEN.match(text, at):
            kind = found.lastgroup or ""
            start, at = found.span(kind)
            if kind == "quote":
                value, at = self._string(at)
                yield _Token("text", value, start)
            elif kind == "number":
                number = found[kind]
                yield _Token(kind, float(number) if set(number) & set(".eE") else int(number), start)
            else:
                yield _Token(found[kind] if kind == "mark" else kind, _WORDS.get(found[kind]), start)
        rest = len(text) - len(text[at:].lstrip(" \t\r\n"))
        if rest < len(text):
            raise self._refused(rest, "this is not JSON")
        while True:
            yield _Token("end", None, rest)

    def _string(self, at: int) -> tuple[str, int]:
        try:
            value, end = self._strings.raw_decode(self._text, at - 1)
        except ValueError as error:
            raise self._refused(at - 1, "the text in quotes is not ended, or has a wrong escape") from error
        if _SURROGATE.search(value):
            raise self._refused(at - 1, "the text in quotes has half a surrogate pair")
        return str(value), end

    def _value(self, token: _Token, tokens: Iterator[_Token], depth: int) -> Node:
        line, column = self._position(token.start)
        if token.kind in ("text", "number", "word"):
            return Node(token.value, line, column)
        if depth >= _MAX_DEPTH:
            raise self._refused(token.start, f"nested deeper than {_MAX_DEPTH} levels")
        if token.kind == "{":
            return self._object(Node({}, line, column, members={}, keys={}), tokens, depth)
        if token.kind == "[":
            return self._array(Node([], line, column, items=[]), tokens, depth)
        raise self._refused(token.start, "a value is missing here")

    def _object(self, node: Node, tokens: Iterator[_Token], depth: int) -> Node:
        members: dict[str, Node] = {}
        token = next(tokens)
        while token.kind != "}" or members:
            if token.kind != "text" or not isinstance(token.value, str):
                raise self._refused(token.start, "a key in quotes is missing here")
            key, place = token.value, self._position(token.start)
            if key in members:
                line = node.keys[key][0]
                message = f"duplicate key {key[:80]!r}"
                raise self._refused(token.start, message, f"it is already on line {line}", code="duplicate-key")
            self._expect(next(tokens), ":")
            node.keys[key] = place
            members[key] = self._value(next(tokens), tokens, depth + 1)
            if self._expect(next(tokens), ",", "}") == "}":
                break
            token = next(tokens)
        node.members = members
        node.value = {key: child.value for key, child in members.items()}
        return node

    def _array(self, node: Node, tokens: Iterator[_Token], depth: int) -> Node:
        items: list[Node] = []
        token = next(tokens)
        while token.kind != "]" or items:
            items.append(self._value(token, tokens, depth + 1))
            if self._expect(next(tokens), ",", "]") == "]":
                break
            token = next(tokens)
        node.items = items
        node.value = [child.value for child in items]
        return node

    def _expect(self, token: _Token, *marks: str) -> str:
        if token.kind not in marks:
            wanted = " or ".join(repr(mark) for mark in marks)
            raise self._refused(token.start, f"{wanted} is missing here")
        return token.kind

    def _position(self, offset: int) -> tuple[int, int]:
        # Positions are asked for in the order of the text, but for a few errors: count on from the last one.
        if offset < self._line_start:
            self._line, self._line_start = 1, 0
        newlines = self._text.count("\n", self._line_start, offset)
        if newlines:
            self._line += newlines
            self._line_start = self._text.rfind("\n", 0, offset) + 1
        return self._line, offset - self._line_start + 1

    def _refused(
        self, offset: int, message: str, hint: str | None = None, *, code: str = "invalid-json"
    ) -> InvalidProject:
        line, column = self._position(offset)
        return InvalidProject(message, code=code, where=f"{self._where}:{line}:{column}", hint=hint)
