"""Annotations as the user gives them: `KEY=VALUE` words and oras' annotation files. Artifact layer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from provender.artifact.names import shown
from provender.errors import InvalidDocument, InvalidReference, NotFound
from provender.oci.document import is_text, parse_json

__all__ = ["CONFIG_KEY", "MANIFEST_KEY", "parse_annotations", "read_annotation_file"]

CONFIG_KEY: Final = "$config"
MANIFEST_KEY: Final = "$manifest"

_MAX_FILE: Final = 4 << 20


def parse_annotations(words: Sequence[str]) -> dict[str, str]:
    """The annotations that `KEY=VALUE` words give; InvalidReference (code `invalid-annotation`) for anything else."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InvalidReference(
                f"not an annotation: {shown(word)}",
                code="invalid-annotation",
                hint="write KEY=VALUE, such as org.opencontainers.image.version=1.2.0",
            )
        if key in found:
            raise InvalidReference(
                f"the annotation {shown(key)} is given twice", code="invalid-annotation", hint="keep one of the two"
            )
        if not is_text(word):
            raise InvalidReference(
                f"the annotation {shown(key)} is not UTF-8",
                code="invalid-annotation",
                hint="a manifest is UTF-8: write it so",
            )
        found[key] = value
    return found


def read_annotation_file(path: str) -> dict[str, dict[str, str]]:
    """Annotations by file title, with `$manifest` and `$config` for the manifest and its config, as oras reads them.

    Raises NotFound, or InvalidDocument (code `invalid-annotation-file`).
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except FileNotFoundError as error:
        raise NotFound(f"no such annotation file: {shown(path)}", code="no-such-file", hint="check the path") from error
    if len(raw) > _MAX_FILE:
        raise _invalid(path, f"it is over {_MAX_FILE} bytes")
    try:
        fields = parse_json(raw, os.path.basename(path))
    except InvalidDocument as error:
        raise _invalid(path, error.message) from error
    return {key: _strings(value, key, path) for key, value in fields.items()}


def _strings(value: object, key: str, path: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        raise _invalid(path, f"{shown(key)} is no object of strings")
    found = {str(name): str(item) for name, item in value.items()}
    if not all(is_text(f"{name}{item}") for name, item in found.items()):
        raise _invalid(path, f"{shown(key)} has half a character (a lone surrogate)")
    return found


def _invalid(path: str, why: str) -> InvalidDocument:
    return InvalidDocument(
        f"not an annotation file: {why}",
        code="invalid-annotation-file",
        where=path,
        hint='write {"$manifest": {"KEY": "VALUE"}, "FILE": {"KEY": "VALUE"}}',
        exit_status=2,
    )
