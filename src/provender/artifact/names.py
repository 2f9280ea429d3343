"""Names from outside (archive members, title annotations, link targets) turned into checked path components.

Artifact layer; pure: everything here is lexical, nothing looks at the disk. The rules are the strictest of all systems
that a tree may be laid on, so that one artifact means the same tree everywhere.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from typing import Final, NoReturn

from provender.errors import IntegrityError
from provender.storage.limits import DEFAULT_LIMITS, Limits

__all__ = ["check_link", "check_links", "check_target", "fold", "fold_text", "is_plain", "shown", "split_path"]

# Most names are of these characters alone, do not start like a device's, and need no closer look.
PLAIN_NAME: Final = r"(?!con|prn|aux|nul|com|lpt)[a-z0-9_@+=,~.-]*[a-z0-9_@+=,~-]"
_PLAIN: Final = re.compile(PLAIN_NAME, re.IGNORECASE | re.ASCII)
# ':' is a drive or an alternate data stream, '\' a separator elsewhere.
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\:]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Names that Windows gives to devices, whatever extension follows; with the superscript digits it also takes for digits.
_RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\..*)?", re.IGNORECASE)
# As many links as POSIX systems follow in one look-up.
_MAX_FOLLOWED: Final = 40


def split_path(text: str, *, where: str, limits: Limits = DEFAULT_LIMITS) -> tuple[str, ...]:
    """The checked components of a relative path, at least one, with `.` components and a trailing `/` dropped.

    Raises IntegrityError (code `bad-name`) for what could leave a directory or means another file elsewhere: absolute,
    `..`, empty components, NUL and control characters, `\\`, `:`, names that Windows reserves, text that is not
    Unicode, and what is longer or deeper than `limits` allow. Where names need not be portable, those pass that only
    other systems than this one take for something else.
    """
    # A character takes at most four bytes: only long names need to be encoded to be measured.
    if len(text) * 4 > limits.path_bytes:
        _check_length(text, limits.path_bytes, text, where)
    if text[:1] == "/":
        _refuse(text, "is absolute", where)
    pieces = text.split("/")
    if pieces[-1] == "" and len(pieces) > 1:
        pieces.pop()
    parts = tuple([piece for piece in pieces if piece != "."])
    if not parts:
        _refuse(text, "names nothing", where)
    if len(parts) > limits.depth:
        _refuse(text, f"is deeper than {limits.depth} components", where)
    for part in parts:
        if part == "..":
            _refuse(text, "climbs with '..'", where)
        _check_component(part, text, where, limits)
    return parts


def is_plain(name: str, limits: Limits = DEFAULT_LIMITS) -> bool:
    """True if `name` is one component that passes without a closer look, as most do; False says nothing."""
    return _PLAIN.fullmatch(name) is not None and len(name) <= limits.name_bytes


def fold(parts: tuple[str, ...]) -> str:
    """The key under which paths collide on a file system that ignores case or normalises Unicode."""
    return fold_text("/".join(parts))


def fold_text(path: str) -> str:
    """`fold` of a joined path."""
    if path.isascii():
        return path.lower()
    # NFC before and after: folding may leave text that composes anew.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def check_link(
    parts: tuple[str, ...],
    target: str,
    *,
    where: str,
    links: Mapping[str, str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Nothing, if the symbolic link at `parts` with this `target` stays inside the tree; else IntegrityError.

    `links` are the targets of all symbolic links of the tree by `fold` of their path: components of the target that are
    links themselves are followed (`a -> b/..` with `b -> c/d` is `c`). The target itself need not exist.
    """
    check_target(parts, target, where=where, limits=limits)
    known = {} if links is None else links
    at = list(parts[:-1])
    todo = target.split("/")[::-1]
    followed = 0
    while todo:
        piece = todo.pop()
        if piece in ("", "."):
            continue
        if piece == "..":
            if not at:
                _refuse_link(parts, target, "leaves the tree", where)
            at.pop()
            continue
        at.append(piece)
        if (further := known.get(fold(tuple(at)))) is None:
            continue
        followed += 1
        if followed > _MAX_FOLLOWED or further[:1] == "/":
            _refuse_link(parts, target, "goes in circles or through too many links", where)
        at.pop()
        todo.extend(further.split("/")[::-1])


def check_links(links: Mapping[str, str], *, where: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Nothing, if every symbolic link (path to target) of a tree stays inside it; else IntegrityError.

    For a tree whose root changed after it was unpacked (a sub-directory became the root): the paths are taken as they
    are, the targets are checked anew.
    """
    known = {fold_text(path): target for path, target in links.items()}
    for path, target in links.items():
        check_link(tuple(path.split("/")), target, where=where, links=known, limits=limits)


def check_target(parts: tuple[str, ...], target: str, *, where: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Nothing, if `target` is text that a link may hold: relative, of checked components.

    Where it leads is not asked.
    """
    if not target:
        _refuse_link(parts, target, "has no target", where)
    if target[0] == "/":
        _refuse_link(parts, target, "is absolute", where)
    _check_length(target, limits.path_bytes, target, where)
    for piece in target.split("/"):
        if piece not in ("", ".", ".."):
            _check_component(piece, target, where, limits)


def _check_component(part: str, text: str, where: str, limits: Limits) -> None:
    if is_plain(part, limits):
        return
    if part == "":
        _refuse(text, "has an empty component", where)
    is_portable = limits.has_portable_names or os.name == "nt"
    if (_FORBIDDEN if is_portable else _CONTROL).search(part) is not None:
        _refuse(text, "has a control character, a backslash or a colon", where)
    if is_portable and part[-1] in ". ":
        _refuse(text, "has a component that ends in a dot or a space", where)
    if len(part) * 4 > limits.name_bytes:
        _check_length(part, limits.name_bytes, text, where)
    elif not part.isascii():
        _encoded(part, text, where)
    if is_portable and _RESERVED.fullmatch(part) is not None:
        _refuse(text, "has a component that is a device on Windows", where)


def _check_length(part: str, limit: int, text: str, where: str) -> None:
    size = len(part) if part.isascii() else len(_encoded(part, text, where))
    if size > limit:
        _refuse(text, f"is too long ({size} bytes in one piece, {limit} allowed)", where)


def _encoded(part: str, text: str, where: str) -> bytes:
    try:
        return part.encode()
    except UnicodeEncodeError as error:
        raise _bad_name(text, "is not valid UTF-8", where) from error


def _bad_name(text: str, why: str, where: str) -> IntegrityError:
    return IntegrityError(
        f"the name {shown(text)} {why}",
        code="bad-name",
        where=where,
        hint="nothing was unpacked; ask whoever published it for an artifact with plain relative names",
    )


def _refuse(text: str, why: str, where: str) -> NoReturn:
    raise _bad_name(text, why, where)


def _refuse_link(parts: tuple[str, ...], target: str, why: str, where: str) -> NoReturn:
    raise IntegrityError(
        f"the link {shown('/'.join(parts))} to {shown(target)} {why}",
        code="bad-link",
        where=where,
        hint="nothing was unpacked; a symbolic link has to be relative and stay inside the artifact",
    )


def shown(text: str) -> str:
    """`text` quoted for a message: ASCII, at most 200 characters of it."""
    return ascii(text if len(text) <= 200 else text[:200] + "...")
