"""Reference: how a user names content in a registry, a logical registry or an OCI layout. Pure.

Grammar: distribution-spec "Pulling manifests" for repository and tag; architecture section 4 for the three forms.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from provender.errors import InvalidReference, Unsupported
from provender.oci.digest import Digest

__all__ = ["Reference", "check_repository", "check_tag", "is_tag"]

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_ALIAS = re.compile(r"[a-z0-9]+(?:[_-]+[a-z0-9]+)*")
_HOST = re.compile(
    r"(?:localhost|[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
    r"|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?"
)
_MAX_NAME = 255  # host and repository together (distribution-spec, implementers' note)
_MAX_TEXT = 4096

_SHORT_HINT = "write where it lives: docker.io/{name}, another host, or alias/{last} with the alias bound to a registry"


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """`registry/repository[:tag][@digest]`, `alias/repository…`, or `layout:PATH…`, checked.

    `kind` says what `registry` is: a host with optional port, the name of a logical registry, or a path of a layout
    (then `repository` is empty). A reference without tag and digest names a repository.
    """

    kind: Literal["registry", "logical", "layout"]
    registry: str
    repository: str = ""
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that `text` writes; InvalidReference with a hint if it writes none."""
        if len(text) > _MAX_TEXT:
            raise _invalid(text, f"longer than {_MAX_TEXT} characters")
        if any(ord(char) < 0x21 or ord(char) == 0x7F for char in text) and not text.startswith("layout:"):
            raise _invalid(text, "it has spaces or control characters")
        if text.startswith("layout:"):
            return _parse_layout(text)
        if text.startswith("ctf:"):
            raise Unsupported(f"CTF archives cannot be read yet: {text[:150]}", code="unsupported-reference")
        return _parse_name(text)

    @property
    def name(self) -> str:
        """The reference without tag and digest."""
        return f"layout:{self.registry}" if self.kind == "layout" else f"{self.registry}/{self.repository}"

    @property
    def target(self) -> str | None:
        """What a storage resolves: the digest if there is one, else the tag."""
        return self.digest if self.digest is not None else self.tag

    def with_target(self, *, tag: str | None = None, digest: Digest | None = None) -> Reference:
        """The same repository with another tag and digest."""
        return msgspec.structs.replace(self, tag=tag, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")


def is_tag(text: str) -> bool:
    """True for text that is a valid tag (at most 128 characters, no `+`)."""
    return _TAG.fullmatch(text) is not None


def check_tag(text: str) -> str:
    """`text`, if it is a valid tag; else InvalidReference."""
    if not is_tag(text):
        hint = "a tag has letters, digits, '_', '.' and '-', at most 128, and does not start with '.' or '-'"
        if "+" in text:
            hint = f"a tag has no '+'; the usual spelling is {text.replace('+', '_')[:128]}"
        raise InvalidReference(f"not a tag: {text[:150]!r}", code="invalid-tag", hint=hint)
    return text


def check_repository(text: str) -> str:
    """`text`, if it is a valid repository name; else InvalidReference."""
    if len(text) > _MAX_NAME or _REPOSITORY.fullmatch(text) is None:
        hint = "components of lower-case letters and digits, joined by '.', '_', '__' or '-', separated by '/'"
        if text != text.lower() and _REPOSITORY.fullmatch(text.lower()):
            hint = f"repository names are lower-case: {text.lower()[:_MAX_NAME]}"
        raise InvalidReference(f"not a repository name: {text[:_MAX_NAME]!r}", code="invalid-repository", hint=hint)
    return text


def _parse_layout(text: str) -> Reference:
    path, digest = _split_digest(text.removeprefix("layout:"), text)
    tag = None
    head, colon, tail = path.rpartition(":")
    if colon and head and is_tag(tail):
        path, tag = head, tail
    if not path or "\0" in path:
        raise _invalid(text, "it has no path", hint="write layout:PATH, layout:PATH:TAG or layout:PATH@DIGEST")
    return Reference(kind="layout", registry=path, tag=tag, digest=digest)


def _parse_name(text: str) -> Reference:
    bare = text.removeprefix("oci://")
    name, digest = _split_digest(bare, text)
    first, slash, rest = name.partition("/")
    if not slash:
        short = name.partition(":")[0]
        raise _invalid(
            text,
            "it names no registry",
            code="short-name",
            hint=_SHORT_HINT.format(name=f"library/{short}", last=short),
        )
    is_host = "." in first or ":" in first or first == "localhost"
    if not is_host and bare is not text:
        raise _invalid(text, f"oci:// is followed by a host, and {first!r} is none")
    if is_host and (_HOST.fullmatch(first) is None or not _port_ok(first)):
        raise _invalid(text, f"{first!r} is not a host with an optional port")
    if not is_host and _ALIAS.fullmatch(first) is None:
        raise _invalid(text, f"{first!r} is neither a host nor the name of a logical registry")
    repository, colon, tag = rest.partition(":")
    try:
        check_repository(repository)
        if colon:
            check_tag(tag)
    except InvalidReference as error:
        raise error.at(text[:300]) from None
    if len(first) + 1 + len(repository) > _MAX_NAME:
        raise _invalid(text, f"host and repository are longer than {_MAX_NAME} characters")
    return Reference(
        kind="registry" if is_host else "logical",
        registry=first.lower() if is_host else first,
        repository=repository,
        tag=tag or None,
        digest=digest,
    )


def _split_digest(name: str, text: str) -> tuple[str, Digest | None]:
    head, at, tail = name.rpartition("@")
    if not at:
        return name, None
    if text.startswith("layout:") and ":" not in tail:
        return name, None  # an '@' of the path
    try:
        return head, Digest(tail)
    except InvalidReference as error:
        raise error.at(text[:300]) from None


def _port_ok(host: str) -> bool:
    _, colon, port = host.rpartition(":")
    return not colon or host.endswith("]") or 0 < int(port) < 65536


def _invalid(text: str, why: str, *, code: str = "invalid-reference", hint: str | None = None) -> InvalidReference:
    return InvalidReference(
        f"not a reference: {text[:300]!r}: {why}",
        code=code,
        hint=hint or "write host/repository:tag, alias/repository:tag or layout:PATH:tag",
    )
