"""The strict YAML reader: the YAML 1.2 core schema as plain data, with the line and column of every key and value.

Built on the parser's event stream, never on its constructors: no tag runs code, no alias multiplies data, and depth is
counted while reading instead of by recursion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from provender.errors import InvalidProject

if TYPE_CHECKING:
    import yaml

__all__ = ["MAX_SETTINGS_BYTES", "Node", "Path", "Tree", "load_tree", "position_of", "shown", "spelled", "yaml_events"]

MAX_SETTINGS_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 64
_MAX_NODES: Final = 100_000
_MAX_DIGITS: Final = 300  # far beyond any meaning, far below what int() refuses or takes long for
_MAX_SHOWN: Final = 80

# YAML 1.2.2 section 10.3.2, "Tag Resolution" of the core schema.
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+")
_RADIX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
}
# Section 5.1: the characters that a YAML text may hold. Compiled when it is needed: that takes 5 ms.
_FORBIDDEN: Final = r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"

Path = tuple[str | int, ...]


class Node(msgspec.Struct):
    """One value as written: plain data, its position (from 1), and for collections what is inside."""

    value: object
    line: int
    column: int
    text: str | None = None  # how a plain scalar is spelled
    members: dict[str, Node] | None = None
    items: list[Node] | None = None
    keys: dict[str, tuple[int, int]] = {}

    def child(self, part: str | int) -> Node | None:
        """The member or item of that name or number; None if there is none."""
        if isinstance(part, str):
            return self.members.get(part) if self.members is not None else None
        return self.items[part] if self.items is not None and 0 <= part < len(self.items) else None


class Tree(msgspec.Struct, frozen=True):
    """A settings document, or a part of one: plain data with positions.

    `where` is how messages name the file; `path` leads from the document's root to this part.
    """

    where: str
    node: Node
    path: Path = ()

    @property
    def value(self) -> object:
        """The plain data: None, bool, int, float, str, list, and dict with text keys."""
        return self.node.value

    def at(self, *path: str | int) -> Tree | None:
        """The part at `path` below this one; None if nothing is written there."""
        node: Node | None = self.node
        for part in path:
            node = node.child(part) if node is not None else None
        return None if node is None else Tree(self.where, node, (*self.path, *path))

    def position(self, path: Path = (), *, of_key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of the value at `path` or of its key; of the nearest parent if it is absent."""
        node = self.node
        place = (node.line, node.column)
        for number, part in enumerate(path):
            child = node.child(part)
            if child is None:
                break
            place = (child.line, child.column)
            if of_key and number == len(path) - 1 and isinstance(part, str):
                place = node.keys[part]
            node = child
        return place

    def place(self, path: Path = (), *, of_key: bool = False) -> str:
        """`file:line:column` of the value at `path`, for `where` of an error."""
        line, column = self.position(path, of_key=of_key)
        return f"{self.where}:{line}:{column}"

    def error(
        self,
        message: str,
        *,
        path: Path = (),
        of_key: bool = False,
        code: str = "invalid-value",
        hint: str | None = None,
    ) -> InvalidProject:
        """An error that points at the value (or key) at `path`."""
        return InvalidProject(message, code=code, where=self.place(path, of_key=of_key), hint=hint)


def load_tree(text: str | bytes, *, where: str) -> Tree:
    """The one YAML document in `text`, which `where` names in messages.

    Strict: UTF-8, at most 1 MiB, 64 levels, no second document, duplicate key, alias, anchor, merge key or tag outside
    of the core schema; keys are text. An empty document is None. Raises InvalidProject with `file:line:column`.
    """
    return Tree(where, _Reader(_decoded(text, where), where).read())


def spelled(path: Path) -> str:
    """A path for people: `registries.acme.mirrors[0]`; empty for the root."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part[:_MAX_SHOWN]}" if text else part[:_MAX_SHOWN]
    return text


def shown(text: str) -> str:
    """Text from outside for a message: quoted, escaped and cut."""
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…")


def _decoded(text: str | bytes, where: str) -> str:
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > MAX_SETTINGS_BYTES:
            raise InvalidProject(
                f"the file has more than {MAX_SETTINGS_BYTES} bytes",
                code="settings-too-large",
                where=where,
                hint="keep data out of settings files",
            )
        decoded = raw.decode()
    except UnicodeError as error:
        raise InvalidProject(
            "the file is not UTF-8", code="invalid-yaml", where=where, hint="save the file as UTF-8"
        ) from error
    decoded = decoded.removeprefix("\ufeff")
    if found := re.search(_FORBIDDEN, decoded):
        before = decoded[: found.start()]
        line, column = before.count("\n") + 1, found.start() - before.rfind("\n")
        raise InvalidProject(
            f"the character U+{ord(found[0]):04X} is not allowed in YAML",
            code="invalid-yaml",
            where=f"{where}:{line}:{column}",
            hint='remove it, or write it as an escape in double quotes, such as "\\u0007"',
        )
    return decoded


class _Frame:
    """A collection that is still open: its node, and the key that waits for its value."""

    __slots__ = ("key", "node", "place")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.key: str | None = None
        self.place = (node.line, node.column)


class _Reader:
    """One pass over the events of one text."""

    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._stack: list[_Frame] = []
        self._count = 0
        self._root: Node | None = None

    def read(self) -> Node:
        import yaml

        documents = 0
        try:
            for event in yaml_events(self._text):
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        raise self._refused(event, "a second document begins here", "one file holds one document")
                elif isinstance(event, yaml.NodeEvent):
                    self._take(event)
                elif isinstance(event, yaml.CollectionEndEvent):
                    self._stack.pop()
        except yaml.YAMLError as error:
            raise self._syntax_error(error) from error
        return self._root if self._root is not None else Node(None, 1, 1)

    def _take(self, event: yaml.NodeEvent) -> None:
        """A scalar or the start of a collection."""
        import yaml

        self._count += 1
        if self._count > _MAX_NODES:
            raise self._refused(event, f"the file has more than {_MAX_NODES} values", "keep data out of settings files")
        if isinstance(event, yaml.AliasEvent):
            raise self._refused(event, "aliases (*) are not supported", "write the value out in each place")
        if event.anchor is not None:
            raise self._refused(event, "anchors (&) are not supported", "write the value out in each place")
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.node.members is not None and frame.key is None:
            self._take_key(event, frame)
            return
        node = self._node(event)
        self._attach(node, frame)
        if not isinstance(event, yaml.ScalarEvent):
            if len(self._stack) >= _MAX_DEPTH:
                raise self._refused(event, f"nested deeper than {_MAX_DEPTH} levels", "flatten the file")
            self._stack.append(_Frame(node))

    def _take_key(self, event: yaml.NodeEvent, frame: _Frame) -> None:
        import yaml

        if not isinstance(event, yaml.ScalarEvent):
            raise self._refused(event, "a key must be text, not a collection", "put braces in quotes to mean text")
        if event.value == "<<" and event.tag is None and event.implicit[0]:
            raise self._refused(event, "merge keys (<<) are not supported", "write the keys out in each place")
        value = self._scalar(event)
        if not isinstance(value, str):
            hint = f'put it in quotes: "{event.value[:_MAX_SHOWN]}"'
            raise self._refused(event, f"a key must be text, not {shown(event.value)}", hint)
        members = frame.node.members
        if members is not None and value in members:
            line, _ = frame.node.keys[value]
            raise self._refused(
                event, f"duplicate key {shown(value)}", f"it is already on line {line}; keep one", code="duplicate-key"
            )
        frame.key, frame.place = value, position_of(event)

    def _node(self, event: yaml.NodeEvent) -> Node:
        import yaml

        line, column = position_of(event)
        if isinstance(event, yaml.ScalarEvent):
            return Node(self._scalar(event), line, column, text=event.value if event.implicit[0] else None)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", f"{_TAG}map" if is_mapping else f"{_TAG}seq"):
            raise self._bad_tag(event, tag)
        if is_mapping:
            return Node({}, line, column, members={}, keys={})
        return Node([], line, column, items=[])

    def _attach(self, node: Node, frame: _Frame | None) -> None:
        if frame is None:
            self._root = node
            return
        parent = frame.node
        if parent.members is not None and isinstance(parent.value, dict) and frame.key is not None:
            parent.members[frame.key] = node
            parent.keys[frame.key] = frame.place
            parent.value[frame.key] = node.value
            frame.key = None
        elif parent.items is not None and isinstance(parent.value, list):
            parent.items.append(node)
            parent.value.append(node.value)

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        text = event.value
        if event.tag in ("!", f"{_TAG}str"):
            return text
        if event.tag is None and not event.implicit[0]:
            return text
        if _INTEGER.fullmatch(text) and len(text) > _MAX_DIGITS:
            raise self._refused(event, "the number is too long", "put it in quotes to mean text")
        value = _resolved(text)
        if event.tag is not None:
            allowed = _SCALAR_TAGS.get(event.tag.removeprefix(_TAG)) if event.tag.startswith(_TAG) else None
            if allowed is None:
                raise self._bad_tag(event, event.tag)
            if type(value) not in allowed:
                raise self._refused(event, f"{shown(text)} is not what its tag says", "remove the tag")
        return value

    def _bad_tag(self, event: yaml.NodeEvent, tag: str | None) -> InvalidProject:
        return self._refused(event, f"the tag {shown(tag or '!')} is not supported", "remove the tag")

    def _refused(
        self, event: yaml.Event, message: str, hint: str | None = None, *, code: str = "invalid-yaml"
    ) -> InvalidProject:
        line, column = position_of(event)
        return InvalidProject(message, code=code, where=f"{self._where}:{line}:{column}", hint=hint)

    def _syntax_error(self, error: yaml.YAMLError) -> InvalidProject:
        """What the parser said, at its place, with a hint for the usual slips."""
        import yaml

        if not isinstance(error, yaml.MarkedYAMLError):
            return InvalidProject(f"not YAML: {error}", code="invalid-yaml", where=self._where)
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "it cannot be read"
        if mark is None:
            return InvalidProject(f"not YAML: {problem}", code="invalid-yaml", where=self._where)
        lines = self._text.splitlines()
        rest = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
        hint = None
        if rest.startswith("\t"):
            hint = "indent with spaces, not with tabs"
        elif rest.startswith(("@", "`", "%")) and mark.column > 0:
            hint = f"text that begins with {rest[0]} has to be in quotes"
        elif error.context and error.context_mark is not None:
            began = error.context_mark.line + 1
            hint = f"look at the indentation, quotes and brackets there and from line {began} on ({error.context})"
        where = f"{self._where}:{mark.line + 1}:{mark.column + 1}"
        return InvalidProject(f"not YAML: {problem}", code="invalid-yaml", where=where, hint=hint)


def yaml_events(text: str) -> Iterator[yaml.Event]:
    """The parser's events: by libyaml where PyYAML has it, else in Python with the same result."""
    import yaml

    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    return yaml.parse(text, Loader=loader)


def position_of(event: yaml.Event) -> tuple[int, int]:
    """Line and column where it begins, from 1."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _resolved(text: str) -> object:
    """The value of a plain scalar in the core schema."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text)
    if _RADIX.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITY.fullmatch(text):
        return float(text.replace(".", ""))
    return float("nan") if text in _NAN else text
