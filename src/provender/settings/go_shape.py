"""From a document to a value of the schema, as Go's JSON decoder does it.

Names without regard to case, numbers become text where text is wanted, unknown keys do nothing. What that is likely to
hide from people is told as a warning.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Sequence
from typing import Final, TypeVar, Union, get_args, get_origin

import msgspec

from provender.errors import InvalidProject
from provender.settings import Path, Tree
from provender.settings.go_scalar import as_text
from provender.settings.reader import Node, shown, spelled

__all__ = ["shaped"]

_T = TypeVar("_T", bound=msgspec.Struct)
_WORDS: Final[dict[object, str]] = {str: "text", int: "a whole number", bool: "true or false"}


def shaped(tree: Tree, kind: type[_T], *, warn: Callable[[str], None]) -> _T:
    """The value of type `kind` in the document. Raises InvalidProject with `file:line:column`."""
    return msgspec.convert(_Shaper(tree, warn).value(tree.node, kind, ()), kind)


class _Shaper:
    """One walk over a document and a type, side by side."""

    def __init__(self, tree: Tree, warn: Callable[[str], None]) -> None:
        self._tree = tree
        self._warn = warn

    def value(self, node: Node, kind: object, path: Path) -> object:
        kind, is_optional = _without_none(kind)
        if node.value is None and is_optional:
            return None
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(node, kind, path)
        if get_origin(kind) is tuple:
            return self._list(node, get_args(kind)[0], path)
        if get_origin(kind) is dict:
            return self._map(node, get_args(kind)[1], path)
        return self._scalar(node, kind, path)

    def _struct(self, node: Node, kind: type[msgspec.Struct], path: Path) -> dict[str, object]:
        if node.value is None:
            return {}
        if node.members is None:
            raise self._mismatch(node, "a mapping", path)
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        folded = {name.lower(): name for name in fields}
        found: dict[str, object] = {}
        for key, child in node.members.items():
            name = key if key in fields else folded.get(key.lower())
            if name is None:
                self._unknown(key, tuple(fields), path)
            else:
                value = self.value(child, fields[name], (*path, key))
                if value is not None:
                    found[name] = value
        return found

    def _list(self, node: Node, kind: object, path: Path) -> list[object]:
        if node.value is None:
            return []
        if node.items is None:
            raise self._mismatch(node, "a list", path)
        return [self.value(child, kind, (*path, number)) for number, child in enumerate(node.items)]

    def _map(self, node: Node, kind: object, path: Path) -> dict[str, object]:
        if node.value is None:
            return {}
        if node.members is None:
            raise self._mismatch(node, "a mapping", path)
        return {key: self.value(child, kind, (*path, key)) for key, child in node.members.items()}

    def _scalar(self, node: Node, kind: object, path: Path) -> object:
        value = node.value
        if kind is str and not isinstance(value, dict | list):
            text = as_text(value)
            if node.text is not None and not isinstance(value, str | None) and text != node.text:
                self._warn(
                    f"{self._tree.place(path)}: {node.text[:80]} is read as {text}, as YAML 1.1 has it; "
                    f'write it in quotes, as "{node.text[:80]}", to mean the text'
                )
            return text
        if value is None:
            return None
        if kind in (int, bool) and type(value) is kind:
            return value
        raise self._mismatch(node, _WORDS.get(kind, "a value"), path)

    def _unknown(self, key: str, known: Sequence[str], path: Path) -> None:
        near = difflib.get_close_matches(key[:80], known, n=1)
        inside = f" in {spelled(path)}" if path else ""
        more = f"; did you mean {near[0]}?" if near else ""
        place = self._tree.place((*path, key), of_key=True)
        self._warn(f"{place}: unknown key {shown(key)}{inside} does nothing{more}")

    def _mismatch(self, node: Node, wanted: str, path: Path) -> InvalidProject:
        match node.value:
            case dict():
                found = "a mapping"
            case list():
                found = "a list"
            case str():
                found = f"the text {shown(node.value)}"
            case _:
                found = "nothing" if node.value is None else (node.text or as_text(node.value))[:80]
        hint = "write true or false, without quotes" if wanted == "true or false" else None
        if wanted == "a mapping":
            hint = "indent what belongs to it, as key: value"
        elif wanted == "a list":
            hint = "begin each item with '- '"
        elif wanted == "a whole number":
            hint = "write digits, without quotes"
        elif wanted == "text":
            hint = "write one value after the colon"
        name = spelled(path) or "the document"
        return self._tree.error(f"{name} must be {wanted}, not {found}", path=path, code="wrong-type", hint=hint)


def _without_none(kind: object) -> tuple[object, bool]:
    if get_origin(kind) in (Union, types.UnionType):
        arms = [arm for arm in get_args(kind) if arm is not type(None)]
        return arms[0], len(arms) < len(get_args(kind))
    return kind, False
