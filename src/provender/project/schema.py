"""The JSON Schema (2020-12) of `provender.yaml`, made from the shapes that read it, for editors and other tools.

Project layer. `schema/provender.schema.json` is this, checked by a test. It says what a schema can say; ranges, overlap
of destinations and the like are checked when the file is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import msgspec

from provender.project.manifest_file import MANIFEST_NAME, ManifestFile

__all__ = ["manifest_schema", "manifest_schema_text"]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_OWN_KEYS: Final = {"^x-": {}}
_NAMES: Final = {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"}
_ALIASES: Final = {"pattern": "^(?!localhost$)[a-z0-9]+([_-]+[a-z0-9]+)*$"}
_SHORT_FORM: Final = {
    "type": "string",
    "description": "The short form: a reference with a tag or a digest, such as acme/greetings:1.2.0.",
    "pattern": r"^(layout:\S+|(oci://)?[^\s@/]+/[^\s@:]+(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@sha(256|512):[0-9a-f]+)?)$",
}


def manifest_schema() -> dict[str, object]:
    """The schema as plain data."""
    made = msgspec.json.schema(ManifestFile)
    definitions = {name: _with_own_keys(each) for name, each in _mapping(made["$defs"]).items()}
    manifest = definitions.pop("ManifestFile")
    properties = _mapping(manifest["properties"])
    _mapping(_object(properties["registries"]))["propertyNames"] = _ALIASES
    _long_form(definitions)
    dependencies = _mapping(_object(properties["dependencies"]))
    dependencies["propertyNames"] = _NAMES
    entry = _mapping(dependencies["additionalProperties"])
    entry["anyOf"] = [_SHORT_FORM, {"$ref": "#/$defs/OciDependency"}]
    return {"$schema": _DIALECT, **manifest, "title": MANIFEST_NAME, "$defs": dict(sorted(definitions.items()))}


def manifest_schema_text() -> str:
    """The schema as the file in `schema/` holds it."""
    return json.dumps(manifest_schema(), indent=2, ensure_ascii=False) + "\n"


def _with_own_keys(definition: object) -> dict[str, object]:
    made = dict(_mapping(definition))
    made["patternProperties"] = _OWN_KEYS
    return made


def _long_form(definitions: Mapping[str, dict[str, object]]) -> None:
    definitions["OciDependency"]["not"] = {"required": ["version", "tag"]}


def _object(value: object) -> object:
    """Of a value that may be null: the alternative that is an object."""
    alternatives = _mapping(value).get("anyOf")
    if not isinstance(alternatives, list):
        return value
    return next(each for each in alternatives if each.get("type") == "object")


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"a schema is an object, not {value!r}")
    return value
