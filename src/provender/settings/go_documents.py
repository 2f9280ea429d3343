"""The YAML documents of a file as Go programs read them, with the line and column of every value.

Several documents in a file, anchors, aliases and merge keys are allowed here, other than in provender's own files; a
repeated key counts as Go takes it (the last one) and is told as a warning. Everything is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from provender.errors import InvalidProject
from provender.settings import MAX_SETTINGS_BYTES, Tree
from provender.settings.go_scalar import resolve
from provender.settings.reader import Node, position_of, yaml_events

if TYPE_CHECKING:
    import yaml

__all__ = ["MAX_FILE_BYTES", "read_documents"]

MAX_FILE_BYTES: Final = 8 * MAX_SETTINGS_BYTES
"""Secrets and inline files stand in these, so more than in settings."""
_MAX_DEPTH: Final = 64
_MAX_NODES: Final = 200_000
_TEXT_TAGS: Final = frozenset({"!", "tag:yaml.org,2002:str"})
_PLAIN_TAGS: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "null", "timestamp"))


def read_documents(raw: bytes, *, where: str, warn: Callable[[str], None]) -> list[Tree]:
    """The documents of `raw` that hold anything, in their order. Raises InvalidProject with `file:line:column`."""
    if len(raw) > MAX_FILE_BYTES:
        raise InvalidProject(
            f"the file has more than {MAX_FILE_BYTES} bytes",
            code="settings-too-large",
            where=where,
            hint="keep data in files of its own, and name them with 'directory'",
        )
    try:
        text = raw.decode().removeprefix("\ufeff")
    except UnicodeError as error:
        raise InvalidProject(
            "the file is not UTF-8", code="invalid-yaml", where=where, hint="save the file as UTF-8"
        ) from error
    return [Tree(where, node) for node in _Reader(text, where, warn).read() if node.value is not None]


class _Frame:
    """A collection that is still open."""

    __slots__ = ("anchor", "key", "node", "own", "place")

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: str | None = None
        self.own: dict[str, int] = {}  # the keys that are written in it, other than merged ones, with their lines
        self.place = (node.line, node.column)


class _Reader:
    """One pass over the events of a text."""

    def __init__(self, text: str, where: str, warn: Callable[[str], None]) -> None:
        self._text = text
        self._where = where
        self._warn = warn
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._sizes: dict[int, int] = {}
        self._count = 0
        self._root: Node | None = None

    def read(self) -> list[Node]:
        import yaml

        documents: list[Node] = []
        try:
            for event in yaml_events(self._text):
                if isinstance(event, yaml.DocumentStartEvent):
                    self._anchors.clear()
                    self._root = None
                elif isinstance(event, yaml.DocumentEndEvent):
                    documents.append(self._root or Node(None, *position_of(event)))
                elif isinstance(event, yaml.NodeEvent):
                    self._take(event)
                elif isinstance(event, yaml.CollectionEndEvent):
                    self._close()
        except yaml.YAMLError as error:
            raise self._syntax_error(error) from error
        return documents

    def _take(self, event: yaml.NodeEvent) -> None:
        import yaml

        self._spend(1, event)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.node.members is not None and frame.key is None:
            self._take_key(event, frame)
            return
        if isinstance(event, yaml.AliasEvent):
            node = self._alias(event)
            self._attach(node, frame)
            return
        node = self._node(event)
        if isinstance(event, yaml.ScalarEvent):
            if event.anchor is not None:
                self._anchors[event.anchor] = node
            self._attach(node, frame)
            return
        if len(self._stack) >= _MAX_DEPTH:
            raise self._refused(event, f"nested deeper than {_MAX_DEPTH} levels", "flatten the file")
        # It is attached when it is closed: until then an alias to it would be a circle.
        self._stack.append(_Frame(node, event.anchor))

    def _close(self) -> None:
        done = self._stack.pop()
        if done.anchor is not None:
            self._anchors[done.anchor] = done.node
        self._attach(done.node, self._stack[-1] if self._stack else None)

    def _take_key(self, event: yaml.NodeEvent, frame: _Frame) -> None:
        import yaml

        if not isinstance(event, yaml.ScalarEvent):
            raise self._refused(event, "a key must be text, not a collection", "put braces in quotes to mean text")
        frame.key, frame.place = event.value, position_of(event)
        if event.value != "<<" and event.value in frame.own:
            self._warn(
                f"{self._where}:{frame.place[0]}:{frame.place[1]}: the key {event.value[:80]!r} is already on line "
                f"{frame.own[event.value]}; vendir takes the last one"
            )
        frame.own[event.value] = frame.place[0]

    def _node(self, event: yaml.NodeEvent) -> Node:
        import yaml

        line, column = position_of(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, line, column)
        if isinstance(event, yaml.MappingStartEvent):
            return Node({}, line, column, members={}, keys={})
        return Node([], line, column, items=[])

    def _scalar(self, event: yaml.ScalarEvent, line: int, column: int) -> Node:
        tag = event.tag
        if tag in _TEXT_TAGS or (tag is None and not event.implicit[0]):
            return Node(event.value, line, column)
        if tag is not None and tag not in _PLAIN_TAGS:
            raise self._refused(event, f"the tag {tag[:80]!r} is not supported", "remove the tag")
        return Node(resolve(event.value), line, column, text=event.value)

    def _alias(self, event: yaml.AliasEvent) -> Node:
        found = self._anchors.get(event.anchor or "")
        if found is None:
            hint = "an alias names an anchor (&name) that stands before it in the same document"
            raise self._refused(event, f"unknown anchor {(event.anchor or '')[:80]!r}", hint)
        self._spend(self._size(found), event)
        return found

    def _attach(self, node: Node, frame: _Frame | None) -> None:
        if frame is None:
            self._root = node
        elif frame.node.items is not None and isinstance(frame.node.value, list):
            frame.node.items.append(node)
            frame.node.value.append(node.value)
        elif frame.key is not None:
            if frame.key == "<<":
                self._merge(node, frame)
            else:
                _put(frame.node, frame.key, node, frame.place)
            frame.key = None

    def _merge(self, node: Node, frame: _Frame) -> None:
        """The keys of the mappings behind `<<`, where the collection does not have them itself (before or after)."""
        for each in node.items if node.items is not None else [node]:
            if each.members is None:
                raise InvalidProject(
                    "a merge key (<<) needs a mapping",
                    code="invalid-yaml",
                    where=f"{self._where}:{frame.place[0]}:{frame.place[1]}",
                    hint="write <<: *name, where &name stands before a mapping",
                )
            for key, value in each.members.items():
                if frame.node.members is not None and key not in frame.node.members:
                    _put(frame.node, key, value, each.keys[key])

    def _size(self, node: Node) -> int:
        """How many nodes an alias stands for."""
        known = self._sizes.get(id(node))
        if known is None:
            children = [*(node.members or {}).values(), *(node.items or [])]
            known = self._sizes[id(node)] = 1 + sum(self._size(child) for child in children)
        return known

    def _spend(self, count: int, event: yaml.Event) -> None:
        self._count += count
        if self._count > _MAX_NODES:
            hint = "keep data in files of its own"
            raise self._refused(event, f"the file stands for more than {_MAX_NODES} values", hint)

    def _refused(self, event: yaml.Event, message: str, hint: str) -> InvalidProject:
        line, column = position_of(event)
        return InvalidProject(message, code="invalid-yaml", where=f"{self._where}:{line}:{column}", hint=hint)

    def _syntax_error(self, error: yaml.YAMLError) -> InvalidProject:
        import yaml

        mark = (error.problem_mark or error.context_mark) if isinstance(error, yaml.MarkedYAMLError) else None
        problem = (error.problem or error.context) if isinstance(error, yaml.MarkedYAMLError) else None
        where = self._where if mark is None else f"{self._where}:{mark.line + 1}:{mark.column + 1}"
        return InvalidProject(
            f"not YAML: {problem or error}",
            code="invalid-yaml",
            where=where,
            hint="look at the indentation and the quotes there and on the line before",
        )


def _put(node: Node, key: str, value: Node, place: tuple[int, int]) -> None:
    if node.members is not None and isinstance(node.value, dict):
        node.members[key] = value
        node.keys[key] = place
        node.value[key] = value.value
