"""Edits of `provender.yaml` that leave everything else as its author wrote it, to the byte.

Project layer; text in, text out. Nothing is returned that does not mean what the old text means but for the one change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from provender.errors import Conflict, InvalidProject
from provender.project.manifest import MANIFEST_NAME, Manifest
from provender.project.manifest_file import MANIFEST_VERSION
from provender.project.yaml_text import SectionText, Value
from provender.settings import load_tree

__all__ = ["Value", "add_dependency", "initial_manifest", "remove_dependency"]

_SECTION: Final = "dependencies"
_BOM: Final = "\ufeff"


def add_dependency(text: str, name: str, value: str | Mapping[str, Value], *, where: str = MANIFEST_NAME) -> str:
    """`text` with the dependency `name` behind the others; `value` is its short form or the keys of its long form.

    Conflict if there is one of that name; InvalidProject if the file or the new dependency is wrong.
    """
    manifest = Manifest.parse(text, where=where)
    if manifest.get(name) is not None:
        raise Conflict(
            f"there is a dependency {name!r} already",
            code="dependency-exists",
            where=manifest.places[name],
            hint=f"edit it there, or run 'provender remove {name}' first",
        )
    _check_alone(name, value)
    body = text.removeprefix(_BOM)
    edited = text[: len(text) - len(body)] + SectionText(body, _SECTION).add(name, value)
    wanted = json.loads(json.dumps(value))
    _check_edit(text, edited, {name: wanted}, where)
    return edited


def remove_dependency(text: str, name: str, *, where: str = MANIFEST_NAME) -> str:
    """`text` without the dependency `name`; NotFound with "did you mean" if there is none.

    Comments on its lines and inside of it go with it; comments above it stay.
    """
    Manifest.parse(text, where=where).require(name, where=where)
    body = text.removeprefix(_BOM)
    edited = text[: len(text) - len(body)] + SectionText(body, _SECTION).remove(name)
    _check_edit(text, edited, {name: None}, where)
    return edited


def initial_manifest(*, schema: str | None = None, registries: Mapping[str, str | None] | None = None) -> str:
    """A new manifest without dependencies; `schema` is where editors find its JSON Schema (a path or URL)."""
    lines = [f"# yaml-language-server: $schema={schema}"] if schema else []
    lines += [f"version: {MANIFEST_VERSION}", "", f"{_SECTION}: {{}}", ""]
    text = "\n".join(lines)
    if registries:
        at = text.index(f"{_SECTION}:")
        text = f"{text[:at]}registries:\n\n{text[at:]}"
        for alias, location in registries.items():
            text = SectionText(text, "registries").add(alias, {} if location is None else {"location": location})
    Manifest.parse(text)
    return text


def _check_alone(name: str, value: str | Mapping[str, Value]) -> None:
    """What is wrong with the new dependency by itself is told without a place in the file, where it is not yet.

    The file is right, so it is the caller who is to ask for something else: exit status 2.
    """
    alone = json.dumps({"version": MANIFEST_VERSION, _SECTION: {name: value}}, ensure_ascii=False)
    try:
        alone.encode()
        Manifest.parse(alone)
    except UnicodeEncodeError as error:
        raise InvalidProject(
            f"{name}: it is not UTF-8, as the file is",
            code="invalid-encoding",
            hint="name paths that are",
            exit_status=2,
        ) from error
    except InvalidProject as error:
        error.where = None
        error.exit_status = 2
        raise


def _check_edit(text: str, edited: str, changes: Mapping[str, object], where: str) -> None:
    """Nothing, if `edited` means what `text` means but for these dependencies (None is gone); else InvalidProject."""
    before, after = load_tree(text, where=where).value, _reread(edited, where)
    fields = dict(before) if isinstance(before, dict) else {}
    dependencies = {**(fields.get(_SECTION) or {}), **changes}
    fields[_SECTION] = {name: value for name, value in dependencies.items() if value is not None}
    if after != fields:
        raise _not_editable(where)
    Manifest.parse(edited, where=where)


def _reread(edited: str, where: str) -> object:
    try:
        return load_tree(edited, where=where).value
    except InvalidProject as error:
        raise _not_editable(where) from error


def _not_editable(where: str) -> InvalidProject:
    return InvalidProject(
        "the file is written in a way that cannot be edited safely; it was left as it is",
        code="not-editable",
        where=where,
        hint="make the change by hand",
    )
