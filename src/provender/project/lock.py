"""Lock: `provender.lock` version 1 (formats section 2), the exact content that every dependency stands for.

Project layer. Written by us alone, with stable bytes; read strictly, for it may have come through merges and editors.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, Literal

import msgspec

from provender.errors import InvalidProject
from provender.oci.digest import decode_digest
from provender.project.json_tree import load_json_tree
from provender.project.lock_checks import find_problem
from provender.project.lock_entry import LockedDependency
from provender.project.manifest import read_capped
from provender.settings import Tree, convert

__all__ = ["LOCK_NAME", "LOCK_VERSION", "Lock", "LockedDependency"]

LOCK_NAME: Final = "provender.lock"
LOCK_VERSION: Final = 1

_HINT: Final = "restore the file from version control, or delete it and run 'provender lock'"
_MAX_BYTES: Final = 64 << 20
_CONFLICT: Final = re.compile(rb"^(?:<{7}|={7}|>{7}|\|{7})(?:[ \r]|$)", re.MULTILINE)


class Lock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The locked dependencies of a project, by name."""

    version: Literal[1] = LOCK_VERSION
    dependencies: dict[str, LockedDependency] = {}

    @classmethod
    def load(cls, path: Path) -> Lock | None:
        """The lock in the file `path`; None without that file; InvalidProject if it cannot be used."""
        try:
            raw = read_capped(path, _MAX_BYTES)
        except FileNotFoundError:
            return None
        return cls.parse(raw, where=str(path))

    @classmethod
    def parse(cls, raw: bytes, *, where: str = LOCK_NAME) -> Lock:
        """The lock in `raw`; InvalidProject: `lock-conflict`, `lock-too-new`, `invalid-json`, … with the place."""
        lock = _canonical(raw.replace(b"\r\n", b"\n"))
        return lock if lock is not None else _explained(raw, where)

    def dump(self) -> bytes:
        """The bytes of the file: sorted, two-space indent, UTF-8, a trailing newline; equal locks give equal bytes."""
        ordered = msgspec.structs.replace(self, dependencies=dict(sorted(self.dependencies.items())))
        return msgspec.json.format(msgspec.json.encode(ordered, enc_hook=str), indent=2) + b"\n"

    def write(self, path: Path) -> bool:
        """Puts the lock at `path` in one step; False if it is there already (line ends do not count)."""
        from provender.storage.files import write_atomically

        content = self.dump()
        if not os.path.islink(path):
            try:
                present = read_capped(path, _MAX_BYTES)
            except FileNotFoundError:
                present = b""
            if present.replace(b"\r\n", b"\n") == content:
                return False
        write_atomically(path, content)
        return True


def _canonical(raw: bytes) -> Lock | None:
    """The fast way: bytes that are exactly what we would write cannot hold a duplicate or unknown key."""
    try:
        lock = msgspec.json.decode(raw, type=Lock, dec_hook=decode_digest)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if lock.dump() != raw:
        return None
    sound = all(find_problem(name, entry) is None for name, entry in lock.dependencies.items())
    return lock if sound else None


def _explained(raw: bytes, where: str) -> Lock:
    """The thorough way: what is wrong and where, or the lock if only its layout was changed."""
    if len(raw) > _MAX_BYTES:
        raise InvalidProject(f"the lock has more than {_MAX_BYTES} bytes", code="lock-too-large", where=where)
    if found := _CONFLICT.search(raw):
        line = raw.count(b"\n", 0, found.start()) + 1
        raise InvalidProject(
            "the lock has merge conflict markers",
            code="lock-conflict",
            where=f"{where}:{line}:1",
            hint="take either side, then run 'provender lock'",
        )
    try:
        tree = load_json_tree(raw, where=where)
        _check_version(tree)
        lock = _converted(tree)
    except InvalidProject as error:
        if error.hint is None:
            error.hint = _HINT
        raise
    for name, entry in lock.dependencies.items():
        problem = find_problem(name, entry)
        if problem is not None:
            path, cause = problem
            full = ("dependencies", name, *path)
            raise tree.error(f"{name[:128]}: {cause.message}", path=full, code=cause.code, hint=_HINT) from cause
    return lock


def _converted(tree: Tree) -> Lock:
    try:
        return msgspec.convert(tree.value, Lock, dec_hook=decode_digest)
    except msgspec.ValidationError as error:
        convert(tree, Lock, dec_hook=decode_digest)
        # Only `x-` keys pass the one and not the other.
        raise tree.error(f"the lock has keys that are not ours: {error}", code="unknown-key") from error


def _check_version(tree: Tree) -> None:
    if not isinstance(tree.value, dict):
        raise tree.error("the lock must be an object")
    version = tree.value.get("version")
    if version is None:
        raise tree.error("the lock lacks the key 'version'", code="missing-key")
    if isinstance(version, int) and version > LOCK_VERSION:
        raise tree.error(
            f"the lock has version {version}; this provender reads version {LOCK_VERSION}",
            path=("version",),
            code="lock-too-new",
            hint="use a newer provender, or delete the lock and run 'provender lock'",
        )
