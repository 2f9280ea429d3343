"""Projects as tests make them: a provender.yaml in a directory, with its logical registries bound by a variable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from support.command import Result, provender, succeed


class Project:
    """A directory with a provender.yaml; `env` is what binds its logical registries."""

    def __init__(
        self,
        directory: Path,
        dependencies: Mapping[str, object],
        *,
        env: Mapping[str, str] | None = None,
        registries: Mapping[str, object] | None = None,
    ) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.env = dict(env or {})
        document = {"version": 1, **({"registries": registries} if registries else {}), "dependencies": dependencies}
        (directory / "provender.yaml").write_text(yaml.safe_dump(document, sort_keys=False))

    def run(self, *arguments: str) -> Result:
        """The outcome of a command in the project."""
        return provender(*arguments, cwd=self.directory, env=self.env)

    def succeed(self, *arguments: str) -> Result:
        """The same, for a run that has to succeed."""
        return succeed(*arguments, cwd=self.directory, env=self.env)

    @property
    def lock_bytes(self) -> bytes:
        return (self.directory / "provender.lock").read_bytes()

    def locked(self, name: str) -> dict[str, Any]:
        """The lock's entry of a dependency."""
        return dict(json.loads(self.lock_bytes)["dependencies"][name])

    def vendor(self, name: str) -> Path:
        """The default destination of a dependency."""
        return self.directory / "vendor" / name
