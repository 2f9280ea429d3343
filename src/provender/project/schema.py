"""The JSON Schema (2020-12) of `provender.yaml`, made from the shapes that read it, for editors and other tools.

Project layer. `schema/provender.schema.json` is this, checked by a test. It says what a schema can say; ranges, overlap
of destinations and the like are checked when the file is read.
"""

from __future__ import annotations

import json
from typing import Final

import msgspec

from provender.project.manifest_file import ManifestFile
from provender.project.manifest_shapes import SHAPES
from provender.project.place import MANIFEST_NAME

__all__ = ["manifest_schema", "manifest_schema_text"]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_OWN_KEYS: Final[dict[str, object]] = {"^x-": {}}
# Keys that exclude each other, by shape.
_EXCLUSIVE: Final = {
    "OciDependency": [("version", "tag")],
    "ImageDependency": [("version", "tag")],
    "GithubDependency": [("version", "tag")],
    "GitDependency": [("version", "tag"), ("version", "branch"), ("tag", "branch")],
}
_NAMES: Final = {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"}
_ALIASES: Final = {"pattern": "^(?!localhost$)[a-z0-9]+([_-]+[a-z0-9]+)*$"}
_SHORT_FORM: Final = {
    "type": "string",
    "description": "The short form: a reference with a tag or a digest, such as acme/greetings:1.2.0.",
    "pattern": r"^(layout:\S+|(oci://)?[^\s@/]+/[^\s@:]+(:[A-Za-z0-9_][A-Za-z0-9._-]*|(:[A-Za-z0-9_][A-Za-z0-9._-]*)?@sha(256|512):[0-9a-f]+))$",
}


def manifest_schema() -> dict[str, object]:
    """The schema as plain data."""
    shapes = tuple(SHAPES.values())
    _, components = msgspec.json.schema_components([ManifestFile, *shapes], ref_template="#/$defs/{name}")
    definitions = {name: {**_mapping(each), "patternProperties": _OWN_KEYS} for name, each in components.items()}
    for name in ("Layers", *(shape.__name__ for shape in shapes)):
        fields = _mapping(definitions[name]["properties"])
        definitions[name]["properties"] = {key: _without_null(_mapping(field)) for key, field in fields.items()}
    for name, pairs in _EXCLUSIVE.items():
        definitions[name]["not"] = {"anyOf": [{"required": list(pair)} for pair in pairs]}
    manifest = definitions.pop("ManifestFile")
    properties = _mapping(manifest["properties"])
    _map_in(properties["registries"])["propertyNames"] = _ALIASES
    dependencies = _map_in(properties["dependencies"])
    dependencies["propertyNames"] = _NAMES
    longs = [{"$ref": f"#/$defs/{shape.__name__}"} for shape in shapes]
    dependencies["additionalProperties"] = {
        "description": "A reference with a tag or digest, or the long form, whose key tells the kind of source.",
        "anyOf": [_SHORT_FORM, *longs],
    }
    return {"$schema": _DIALECT, **manifest, "title": MANIFEST_NAME, "$defs": dict(sorted(definitions.items()))}


def manifest_schema_text() -> str:
    """The schema as the file in `schema/` holds it."""
    return json.dumps(manifest_schema(), indent=2, ensure_ascii=False) + "\n"


def _without_null(field: dict[str, object]) -> dict[str, object]:
    """A key that may be left out, but not be empty: `version:` with nothing behind it is a slip."""
    alternatives = field.get("anyOf")
    if not isinstance(alternatives, list):
        return field
    rest = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    (only,) = (each for each in alternatives if each != {"type": "null"})
    return {**rest, **only}


def _map_in(value: object) -> dict[str, object]:
    """The part of a schema that says what a map holds, where the map may also be null."""
    alternatives = _mapping(value)["anyOf"]
    return next(each for each in alternatives if each.get("type") == "object") if isinstance(alternatives, list) else {}


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"a schema is an object, not {value!r}")
    return value
