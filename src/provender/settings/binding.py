"""From a settings tree to typed values: unknown keys, wrong types and failed checks are told with file:line:column.

msgspec decides what is valid; the walk over the types only finds the place that it objects to, and says it plainly.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from provender.errors import InvalidProject, ProvenderError
from provender.settings.reader import Node, Path, Tree, load_tree, shown, spelled

__all__ = ["DecodeHook", "convert", "load"]

DecodeHook = Callable[[type, object], object]

_T = TypeVar("_T")
# msgspec learns a type when it first meets it, and a second thread that comes meanwhile crashes the process: locations
# are read by whichever thread asks first.
_LEARNING: Final = threading.RLock()
_LISTS: Final = (list, tuple, set, frozenset, Sequence, AbstractSet)
_MAPPINGS: Final = (dict, Mapping)
_WORDS: dict[object, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
    dict: "a mapping",
    list: "a list",
}


def load(text: str | bytes, kind: type[_T], *, where: str, dec_hook: DecodeHook | None = None) -> _T:
    """The typed value of the YAML in `text`: `load_tree`, then `convert`."""
    return convert(load_tree(text, where=where), kind, dec_hook=dec_hook)


def convert(tree: Tree, kind: type[_T], *, dec_hook: DecodeHook | None = None, forbid_unknown: bool = True) -> _T:
    """The value of type `kind` that the tree spells.

    A key that a struct does not have is an error with "did you mean", whatever the struct's own configuration; keys
    that begin with `x-` are dropped from every struct. (In a map of names, such as dependencies, `x-…` is a name.)
    ValueError, TypeError and ProvenderError of a `dec_hook` or `__post_init__` become InvalidProject at the value.
    """
    node = _pruned(tree, tree.node, kind, (), forbid_unknown=forbid_unknown)
    problem: msgspec.ValidationError | ProvenderError
    try:
        with _LEARNING:
            return msgspec.convert(node.value, kind, dec_hook=dec_hook)
    except (msgspec.ValidationError, ProvenderError) as error:
        problem = error
    raise _Explainer(tree, dec_hook).explain(node, kind, (), problem) from problem


def _pruned(tree: Tree, node: Node, kind: object, path: Path, *, forbid_unknown: bool) -> Node:
    """The node without what no struct has: `x-` keys are dropped, other unknown keys raise or are dropped."""
    struct = _arm(node, kind)
    known = _field_names(struct)
    children = _typed_children(node, kind)
    if node.members is not None:
        members: dict[str, Node] = {}
        for key, child in node.members.items():
            if known is not None and key not in known:
                if forbid_unknown and not key.startswith("x-"):
                    raise _unknown_key(tree, path, key, known)
                continue
            inner = children.get(key)
            members[key] = (
                child if inner is None else _pruned(tree, child, inner, (*path, key), forbid_unknown=forbid_unknown)
            )
        value = {key: child.value for key, child in members.items()}
        return Node(value, node.line, node.column, members=members, keys=node.keys)
    if node.items is not None:
        items = [
            _pruned(tree, child, children[number], (*path, number), forbid_unknown=forbid_unknown)
            if number in children
            else child
            for number, child in enumerate(node.items)
        ]
        return Node([child.value for child in items], node.line, node.column, items=items)
    return node


def _unknown_key(tree: Tree, path: Path, key: str, known: Sequence[str]) -> InvalidProject:
    near = _near(key, known)
    hint = f"did you mean {near}?" if near else f"known here: {', '.join(known)}; keys of your own begin with x-"
    inside = f" in {spelled((*tree.path, *path))}" if tree.path or path else ""
    return tree.error(
        f"unknown key {shown(key)}{inside}", path=(*path, key), of_key=True, code="unknown-key", hint=hint
    )


class _Explainer:
    """Finds the smallest part of a tree that cannot be converted, and says why."""

    def __init__(self, tree: Tree, dec_hook: DecodeHook | None) -> None:
        self._tree = tree
        self._dec_hook = dec_hook

    def explain(
        self, node: Node, kind: object, path: Path, problem: msgspec.ValidationError | ProvenderError
    ) -> InvalidProject:
        """The error for people, given that converting `node` to `kind` raised `problem`."""
        for part, inner in _typed_children(node, kind).items():
            child = node.child(part)
            found = self._problem(child.value, inner) if child is not None else None
            if child is not None and found is not None:
                return self.explain(child, inner, (*path, part), found)
        struct = _arm(node, kind)
        tags = _tags(kind) if struct is None and isinstance(node.value, dict) else {}
        for field_name, choices in tags.items():
            child = node.child(field_name)
            if child is None:
                return self._missing(path, field_name)
            return self._mismatch(child, Literal[choices], (*path, field_name))
        if struct is not None and isinstance(node.value, dict):
            for field in msgspec.structs.fields(struct):
                if field.required and field.encode_name not in node.value:
                    return self._missing(path, field.encode_name)
        for key, found in self._key_problems(node, kind):
            return self._said(path, found, at=(*path, key), of_key=True)
        if not _accepts(kind, node.value):
            return self._mismatch(node, kind, path)
        return self._said(path, problem, at=path)

    def _problem(self, value: object, kind: object) -> msgspec.ValidationError | ProvenderError | None:
        try:
            msgspec.convert(value, kind, dec_hook=self._dec_hook)
        except (msgspec.ValidationError, ProvenderError) as error:
            return error
        return None

    def _key_problems(self, node: Node, kind: object) -> Iterator[tuple[str, msgspec.ValidationError | ProvenderError]]:
        for arm in _arms(kind):
            if get_origin(arm) in _MAPPINGS and node.members is not None:
                for key in node.members:
                    found = self._problem(key, get_args(arm)[0])
                    if found is not None:
                        yield key, found

    def _missing(self, path: Path, name: str) -> InvalidProject:
        inside = spelled((*self._tree.path, *path)) or "the file"
        return self._tree.error(
            f"{inside} lacks the key {name!r}", path=path, of_key=True, code="missing-key", hint=f"add {name}: …"
        )

    def _mismatch(self, node: Node, kind: object, path: Path) -> InvalidProject:
        arms = [arm for arm in _arms(kind) if arm is not type(None)]
        expected = " or ".join(dict.fromkeys(_words(arm) for arm in arms)) or "nothing"
        name = spelled((*self._tree.path, *path)) or "the file"
        hint = None
        if node.text and _accepts(kind, node.text):
            hint = f'put it in quotes to mean text: "{node.text[:80]}"'
        elif isinstance(node.value, str):
            near = _near(node.value, _choices(kind))
            hint = f"did you mean {near}?" if near else None
        return self._tree.error(f"{name} must be {expected}, not {_said_value(node)}", path=path, hint=hint)

    def _said(
        self, path: Path, problem: msgspec.ValidationError | ProvenderError, *, at: Path, of_key: bool = False
    ) -> InvalidProject:
        name = spelled((*self._tree.path, *path)) or "the file"
        if isinstance(problem, ProvenderError):
            return self._tree.error(
                f"{name}: {problem.message}", path=at, of_key=of_key, code=problem.code, hint=problem.hint
            )
        cause = problem.__cause__
        text = str(cause) if isinstance(cause, (ValueError, TypeError)) else str(problem)
        return self._tree.error(f"{name}: {text}", path=at, of_key=of_key)


def _arms(kind: object) -> list[object]:
    """The alternatives of a type, without annotations around them."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _arms(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return [arm for part in get_args(kind) for arm in _arms(part)]
    return [kind]


def _arm(node: Node, kind: object) -> type[msgspec.Struct] | None:
    """The struct that a mapping is read as: the only one, or by its tag; None if that is open."""
    if node.members is None:
        return None
    structs = [arm for arm in _arms(kind) if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]
    if len(structs) == 1:
        return structs[0]
    for struct in structs:
        config = struct.__struct_config__
        tag = node.members.get(config.tag_field) if config.tag_field is not None else None
        if tag is not None and tag.value == config.tag:
            return struct
    return None


def _tags(kind: object) -> dict[str, tuple[str | int, ...]]:
    """The field that tells the structs of a union apart, with its values; empty where there is none."""
    tags: dict[str, tuple[str | int, ...]] = {}
    for arm in _arms(kind):
        if isinstance(arm, type) and issubclass(arm, msgspec.Struct):
            config = arm.__struct_config__
            if config.tag_field is not None and config.tag is not None:
                tags[config.tag_field] = (*tags.get(config.tag_field, ()), config.tag)
    return tags


def _field_names(struct: type[msgspec.Struct] | None) -> list[str] | None:
    if struct is None:
        return None
    tag_field = struct.__struct_config__.tag_field
    names = [field.encode_name for field in msgspec.structs.fields(struct)]
    return [tag_field, *names] if tag_field is not None else names


def _typed_children(node: Node, kind: object) -> dict[str | int, object]:
    """The types of a collection's parts, where the type of the whole tells them."""
    if node.members is not None:
        struct = _arm(node, kind)
        if struct is not None:
            fields = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
            return {key: fields[key] for key in node.members if key in fields}
        for arm in _arms(kind):
            if get_origin(arm) in _MAPPINGS:
                return dict.fromkeys(node.members, get_args(arm)[1])
    if node.items is not None:
        for arm in _arms(kind):
            if get_origin(arm) in _LISTS:
                inner = get_args(arm)
                if get_origin(arm) is tuple and inner[-1] is not Ellipsis:
                    return dict(enumerate(inner[: len(node.items)]))
                return dict.fromkeys(range(len(node.items)), inner[0])
    return {}


def _accepts(kind: object, value: object) -> bool:
    """Whether a value of this sort can be right for the type at all; True where only msgspec can tell."""
    return any(_arm_accepts(arm, value) for arm in _arms(kind))


def _arm_accepts(arm: object, value: object) -> bool:
    origin = get_origin(arm)
    if origin is Literal:
        return any(type(choice) is type(value) and choice == value for choice in get_args(arm))
    if arm in (dict, *_MAPPINGS) or origin in _MAPPINGS:
        return isinstance(value, dict)
    if arm in _LISTS or origin in _LISTS:
        return isinstance(value, list)
    if arm is None or arm is type(None):
        return value is None
    if arm is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if arm in (str, bool, int):
        return type(value) is arm
    if isinstance(arm, type) and issubclass(arm, msgspec.Struct):
        return isinstance(value, dict)
    return True


def _words(arm: object) -> str:
    """A type in plain words."""
    origin = get_origin(arm)
    if origin is Literal:
        choices = [repr(choice) if isinstance(choice, str) else str(choice) for choice in get_args(arm)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if arm in _MAPPINGS or origin in _MAPPINGS or (isinstance(arm, type) and issubclass(arm, msgspec.Struct)):
        return _WORDS[dict]
    if arm in _LISTS or origin in _LISTS:
        return _WORDS[list]
    return _WORDS.get(arm, f"a {getattr(arm, '__name__', 'value').lower()}")


def _said_value(node: Node) -> str:
    """A value in plain words, short."""
    value = node.value
    match value:
        case None:
            return "nothing"
        case bool():
            return f"{value!r}".lower()
        case int() | float():
            return f"the number {(node.text or str(value))[:80]}"
        case str():
            return f"the text {shown(value)}"
        case dict():
            return "a mapping"
        case _:
            return "a list"


def _choices(kind: object) -> list[str]:
    return [
        choice
        for arm in _arms(kind)
        if get_origin(arm) is Literal
        for choice in get_args(arm)
        if isinstance(choice, str)
    ]


def _near(word: str, known: Sequence[str]) -> str | None:
    import difflib

    matches = difflib.get_close_matches(word[:80], known, n=1)
    return matches[0] if matches else None
