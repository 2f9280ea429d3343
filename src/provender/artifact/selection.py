"""Which files of an unpacked artifact are wanted: include, exclude and a new root. Artifact layer.

Patterns are relative to the artifact's own root and always for the whole path: `*` and `?` stay within one component,
`[..]` is one character of a set (`[!..]`: not of it), `**` as a component is any number of components, none included.
No braces, no negation, no order. A pattern without wildcards names a file, or a directory with everything below it; a
trailing `/` means the same, with wildcards too. Names that start with a dot are nothing special.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from provender.artifact.names import check_links, shown, split_path
from provender.artifact.tree import Entry
from provender.errors import IntegrityError, InvalidProject, NotFound

__all__ = ["Selection", "choose", "is_selected", "matches", "select"]

_WILD: Final = frozenset("*?[")
_MAX_PATTERN: Final = 1024


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What to keep: all that `include` matches (all, without one) but what `exclude` does; then `root` moves up."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    root: str = ""


def matches(path: str, patterns: Iterable[str]) -> bool:
    """True if one of the patterns matches the path. Raises InvalidProject (code `invalid-pattern`)."""
    return any(_compiled(pattern).fullmatch(path) is not None for pattern in patterns)


def choose(entries: Sequence[Entry], selection: Selection) -> tuple[Entry, ...]:
    """The entries of a tree that are wanted, with their paths below the new root; nothing on disk is looked at.

    Raises NotFound (code `nothing-selected` or `no-such-root`) and IntegrityError (code `bad-link`) for a link that
    would leave the new root.
    """
    root = "/".join(_root_parts(selection.root))
    if root and not any(entry.path.startswith(f"{root}/") for entry in entries):
        raise _no_root(root, entries)
    below = _below(entries, selection, root)
    left = tuple(msgspec.structs.replace(entry, path=entry.path[len(root) + 1 if root else 0 :]) for entry in below)
    links = {entry.path: entry.content for entry in left if entry.kind == "l"}
    check_links(links, where=f"root {shown(root)}" if root else "the selection")
    return left


def select(staging: str, entries: Sequence[Entry], selection: Selection) -> tuple[Entry, ...]:
    """The entries that are left, after what is not wanted was removed from `staging` and the root moved up.

    `entries` are all files and links of `staging`. Raises NotFound (code `nothing-selected` or `no-such-root`) and
    IntegrityError (code `bad-link`) for a link that would leave the new root; then the directory is to be thrown away.
    """
    root = "/".join(_root_parts(selection.root))
    if root and not os.path.isdir(os.path.join(staging, root)):
        raise _no_root(root, entries)
    prefix = f"{root}/" if root else ""
    below = _below(entries, selection, root)
    left = tuple(msgspec.structs.replace(entry, path=entry.path[len(prefix) :]) for entry in below)
    links = {entry.path: entry.content for entry in left if entry.kind == "l"}
    check_links(links, where=f"root {shown(root)}" if root else staging)
    if len(below) < len(entries):
        _remove(staging, {entry.path for entry in entries} - {entry.path for entry in below}, prefix)
    if root:
        _move_up(staging, root)
    return left


def is_selected(path: str, selection: Selection) -> bool:
    """True if a file at `path` would be left."""
    root = "/".join(_root_parts(selection.root))
    return _is_wanted(path, selection) and (not root or path.startswith(f"{root}/"))


def _below(entries: Sequence[Entry], selection: Selection, root: str) -> list[Entry]:
    prefix = f"{root}/" if root else ""
    below = [entry for entry in entries if _is_wanted(entry.path, selection) and entry.path.startswith(prefix)]
    if not below and (entries or selection != Selection()):
        raise _nothing(selection, entries)
    return below


def _is_wanted(path: str, selection: Selection) -> bool:
    if selection.include and not matches(path, selection.include):
        return False
    return not matches(path, selection.exclude)


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern; linear enough, since no two `**` stand side by side."""
    if not pattern or len(pattern) > _MAX_PATTERN or pattern.startswith("/") or "\0" in pattern:
        raise _bad_pattern(pattern, "is empty, absolute or too long")
    body = pattern.removeprefix("./").rstrip("/")
    parts = body.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise _bad_pattern(pattern, "has an empty component, '.' or '..'")
    pieces: list[str] = []
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if part != "**":
            pieces.append(_component(part, pattern) + ("" if is_last else "/"))
        elif is_last:
            pieces.append(".+")
        elif not (number and parts[number - 1] == "**"):
            pieces.append("(?:[^/]+/)*")
    if pattern.endswith("/") or _WILD.isdisjoint(body):
        pieces.append("(?:/.+)?")
    return re.compile("".join(pieces), re.DOTALL)


def _component(part: str, pattern: str) -> str:
    text: list[str] = []
    at = 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            if not (text and text[-1] == "[^/]*"):
                text.append("[^/]*")
        elif char == "?":
            text.append("[^/]")
        elif char == "[":
            end = part.find("]", at + (2 if part[at : at + 1] == "!" else 1))
            if end < 0:
                raise _bad_pattern(pattern, "has a '[' without ']'")
            text.append(_set(part[at:end], pattern))
            at = end + 1
        else:
            text.append(re.escape(char))
    return "".join(text)


def _set(inside: str, pattern: str) -> str:
    negated = inside.startswith("!")
    body = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[1:] if negated else inside)
    source = f"(?!/)[{'^' if negated else ''}{body}]"
    try:
        re.compile(source)
    except re.error as error:
        raise _bad_pattern(pattern, f"has a set that is none ({error})") from error
    return source


def _root_parts(root: str) -> tuple[str, ...]:
    if root.strip("/") in ("", "."):
        return ()
    try:
        return split_path(root, where="root")
    except IntegrityError as error:
        raise InvalidProject(
            f"root {shown(root)} is no path inside an artifact",
            code="invalid-root",
            hint="write a relative path such as deploy/manifests",
        ) from error


def _remove(staging: str, unwanted: Iterable[str], prefix: str) -> None:
    """Removes files and then all empty directories. What is outside of the new root goes as a whole later."""
    for path in unwanted:
        if path.startswith(prefix):
            os.unlink(os.path.join(staging, path))
    for directory, _, _ in os.walk(os.path.join(staging, prefix), topdown=False):
        if not os.listdir(directory):
            os.rmdir(directory)


def _move_up(staging: str, root: str) -> None:
    """Makes the directory `root` the content of `staging`, whose own name and inode stay."""
    # A name that no member of an artifact can have: components do not end in a space.
    aside = os.path.join(staging, "root ")
    os.rename(os.path.join(staging, root), aside)
    for name in os.listdir(staging):
        path = os.path.join(staging, name)
        if path == aside:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    for name in os.listdir(aside):
        os.rename(os.path.join(aside, name), os.path.join(staging, name))
    os.rmdir(aside)


def _no_root(root: str, entries: Sequence[Entry]) -> NotFound:
    import difflib

    directories = {path[:at] for path in (e.path for e in entries) for at in range(len(path)) if path[at] == "/"}
    last = root.rpartition("/")[2]
    near = [name for name in sorted(directories) if name.rpartition("/")[2] == last]
    near = near or difflib.get_close_matches(root, sorted(directories)[:5000], n=3)
    there = sorted({entry.path.partition("/")[0] for entry in entries})
    hint = (
        f"did you mean {' or '.join(near[:3])}?" if near else f"at the top it has {', '.join(there[:10]) or 'nothing'}"
    )
    return NotFound(f"the artifact has no directory {shown(root)}", code="no-such-root", hint=hint)


def _nothing(selection: Selection, entries: Sequence[Entry]) -> NotFound:
    asked = [
        f"{name} {', '.join(shown(pattern) for pattern in patterns)}"
        for name, patterns in (
            ("include", selection.include),
            ("exclude", selection.exclude),
            ("root", (selection.root,) * bool(selection.root)),
        )
        if patterns
    ]
    there = ", ".join(entry.path for entry in entries[:5])
    return NotFound(
        f"nothing is left of the artifact's {len(entries)} files" + (f" after {'; '.join(asked)}" if asked else ""),
        code="nothing-selected",
        hint=f"it has {there[:300]}{', ...' if len(entries) > 5 else ''}; patterns match whole paths"
        if there
        else None,
    )


def _bad_pattern(pattern: str, why: str) -> InvalidProject:
    return InvalidProject(
        f"the pattern {shown(pattern)} {why}",
        code="invalid-pattern",
        hint="write a relative pattern such as **/*.yaml or docs/**",
    )
