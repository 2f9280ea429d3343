"""Write the JSON Schema of `provender.yaml` from its model to `schema/provender.schema.json`."""

from __future__ import annotations

from pathlib import Path

from provender.project.schema import manifest_schema_text

if __name__ == "__main__":
    target = Path(__file__).resolve().parent.parent / "schema" / "provender.schema.json"
    target.write_text(manifest_schema_text(), encoding="utf-8")
