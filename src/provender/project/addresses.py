"""Addresses: the grammars of what names something outside of registries (URLs, Git names, releases, charts).

Project layer; pure. Manifest and lock are held to the same rules, so that neither can bring in an option for a program,
a transport that runs commands, or a secret.
"""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

from provender.artifact.names import split_path
from provender.errors import IntegrityError, InvalidProject, InvalidReference, ProvenderError, Unsupported
from provender.oci import Reference

__all__ = [
    "check_asset_name",
    "check_chart",
    "check_chart_repository",
    "check_commit",
    "check_directory",
    "check_git_url",
    "check_ref",
    "check_sha256",
    "check_slug",
    "check_url",
    "git_transport",
    "is_classic",
]

GitTransport = Literal["https", "http", "ssh", "git", "file"]

_MAX_URL: Final = 2048
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT_COMMIT: Final = re.compile(r"[0-9a-f]{4,63}", re.IGNORECASE)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_CHART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]")
_SCP: Final = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*):(?P<path>(?!/?-|//)\S+)"
)
_LOGIN: Final = re.compile(r"//[^/]*@")
_BAD_TEXT: Final = re.compile(r"[\x00-\x20\x7f-\x9f\\\ud800-\udfff]")
# git check-ref-format(1): what no reference may hold.
_BAD_REF: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(?:^|/)\.|\.lock(?:/|$)|[/.]$|^[-/]|^@$")
_GIT_SCHEMES: Final[dict[str, GitTransport]] = {
    "https": "https",
    "http": "http",
    "ssh": "ssh",
    "git+ssh": "ssh",
    "ssh+git": "ssh",
    "git": "git",
    "file": "file",
}


def check_url(text: str) -> str:
    """`text`, if it is an http or https URL without secrets; else InvalidProject."""
    _check_text(text)
    parts = _split(text)
    if parts.scheme not in ("http", "https"):
        raise _invalid_url(text, f"the scheme is {parts.scheme or 'missing'}", "write https://HOST/PATH")
    _check_host(text, parts.hostname)
    if parts.username is not None or parts.password is not None:
        raise _secret_in_url("name the login in ~/.netrc instead (machine HOST login USER password PASSWORD)")
    if parts.fragment:
        raise _invalid_url(text, "it has a fragment (#), which no server sees", "remove what follows the '#'")
    return text


def check_git_url(text: str) -> str:
    """`text`, if git may be given it: https, ssh (also `user@host:path`), http, git, or file when spelled out."""
    git_transport(text)
    return text


def git_transport(text: str) -> GitTransport:
    """How git gets at the URL `text`; InvalidProject for one that it may not be given.

    What begins with a hyphen would be an option, `ext::` and the like would be commands.
    """
    _check_text(text, code="invalid-git-url")
    hint = "write https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, or file:///PATH for a repository here"
    scheme, is_url, _ = text.partition("://")
    if not is_url:
        if text.startswith("-") or "::" in text or _SCP.fullmatch(text) is None:
            raise _invalid_url(text, "it is neither a URL nor USER@HOST:PATH", hint, code="invalid-git-url")
        return "ssh"
    transport = _GIT_SCHEMES.get(scheme)
    if transport is None:
        raise _invalid_url(text, f"the transport {scheme[:40]!r} is not allowed", hint, code="invalid-git-url")
    parts = _split(text, code="invalid-git-url")
    if transport == "file":
        if parts.netloc or not parts.path.startswith("/") or parts.path.startswith("/-"):
            raise _invalid_url(text, "a file URL has no host and an absolute path", hint, code="invalid-git-url")
        return transport
    _check_host(text, parts.hostname, code="invalid-git-url")
    if parts.password is not None:
        raise _secret_in_url("leave it to git: a credential helper (git credential), ~/.netrc or an SSH key")
    if parts.username is not None and (parts.username.startswith("-") or transport == "git"):
        raise _invalid_url(text, "the user's name cannot be used", hint, code="invalid-git-url")
    if not parts.path.strip("/") or parts.path.startswith("/-"):
        raise _invalid_url(text, "it names no repository", hint, code="invalid-git-url")
    return transport


def check_commit(text: str) -> str:
    """`text`, if it is the whole name of a commit; else InvalidProject."""
    if _COMMIT.fullmatch(text) is None:
        is_short = _SHORT_COMMIT.fullmatch(text) is not None
        raise InvalidProject(
            f"not the whole name of a commit: {text[:150]!r}",
            code="invalid-commit",
            hint="write all 40 digits, in small letters: git rev-parse " + (text[:64] if is_short else "COMMIT"),
        )
    return text


def check_ref(text: str) -> str:
    """`text`, if it can be the name of a branch or tag; else InvalidProject."""
    if not text or len(text) > 255 or _BAD_REF.search(text) or _BAD_TEXT.search(text):
        raise InvalidProject(
            f"not a name of a branch or tag: {text[:150]!r}",
            code="invalid-ref",
            hint="write the bare name, such as main or v1.2.0",
        )
    return text


def check_sha256(text: str) -> str:
    """`text`, if it is a sha256 in hexadecimal; else InvalidProject."""
    if _SHA256.fullmatch(text) is None:
        bare = text.removeprefix("sha256:").lower()
        is_near = _SHA256.fullmatch(bare) is not None
        raise InvalidProject(
            f"not a sha256: {text[:150]!r}",
            code="invalid-sha256",
            hint=f"did you mean {bare}?" if is_near else "write the 64 hexadecimal digits that sha256sum prints",
        )
    return text


def check_slug(text: str) -> str:
    """`text`, if it is `owner/name` of a repository on GitHub; else InvalidProject."""
    if _SLUG.fullmatch(text) is None:
        raise InvalidProject(
            f"not a repository on GitHub: {text[:150]!r}",
            code="invalid-slug",
            hint="write OWNER/NAME, such as helm/helm",
        )
    return text


def check_chart(text: str) -> str:
    """`text`, if it can name a chart; else InvalidProject."""
    if _CHART.fullmatch(text) is None:
        raise InvalidProject(
            f"not a name of a chart: {text[:150]!r}",
            code="invalid-chart",
            hint="write the bare name, such as podinfo, and where it is under 'repository'",
        )
    return text


def check_chart_repository(text: str) -> str:
    """`text`, if charts can be in it; else InvalidProject.

    That is an http or https URL, `oci://HOST/PATH`, or `ALIAS/PATH` of a logical registry.
    """
    hint = "write https://HOST/PATH, oci://HOST/PATH, or ALIAS/PATH of a logical registry"
    if is_classic(text):
        return check_url(text)
    try:
        reference = Reference.parse(f"{text.rstrip('/')}/chart")
    except (InvalidReference, Unsupported) as error:
        raise _invalid_url(text, error.message, hint) from error
    is_spelled_out = text.startswith("oci://") or reference.kind == "logical"
    if reference.kind == "layout" or reference.target is not None or not is_spelled_out:
        raise _invalid_url(text, "it is no repository of charts", hint)
    return text


def is_classic(repository: str) -> bool:
    """True for the URL of a repository with an `index.yaml`; False for one in a registry."""
    return repository.startswith(("http://", "https://"))


def check_asset_name(text: str) -> str:
    """`text`, if a file can have this name everywhere; else InvalidProject."""
    try:
        parts = split_path(text, where="")
    except IntegrityError as error:
        raise InvalidProject(error.message, code="invalid-asset", hint="name one file, without directories") from error
    if parts != (text,):
        raise InvalidProject(f"not a name of a file: {text[:150]!r}", code="invalid-asset", hint="name one file")
    return text


def check_directory(text: str) -> str:
    """The clean form of a directory's path relative to the manifest, which may climb; else InvalidProject."""
    climbs, rest = 0, text
    while rest == ".." or rest.startswith("../"):
        climbs, rest = climbs + 1, rest[3:].lstrip("/")
    hint = "write a path relative to provender.yaml, such as ../shared-config"
    if rest in ("", "."):
        if climbs:
            return "/".join([".."] * climbs)
        raise InvalidProject(
            "the project itself cannot be laid into the project",
            code="invalid-directory",
            hint="name a directory in it",
        )
    try:
        parts = split_path(rest, where="")
    except ProvenderError as error:
        raise InvalidProject(error.message, code="invalid-directory", hint=hint) from error
    return "/".join((*[".."] * climbs, *parts))


def _check_text(text: str, *, code: str = "invalid-url") -> None:
    if not text or len(text) > _MAX_URL:
        problem = "it is empty" if not text else f"it is longer than {_MAX_URL} characters"
    elif _BAD_TEXT.search(text):
        problem = "it has a space, a backslash or a control character"
    else:
        return
    raise _invalid_url(text, problem, "write https://HOST/PATH", code=code)


def _split(text: str, *, code: str = "invalid-url") -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises for what is no number
    except ValueError as error:
        raise _invalid_url(
            text, "its host or port cannot be read", "write https://HOST[:PORT]/PATH", code=code
        ) from error
    return parts


def _check_host(text: str, host: str | None, *, code: str = "invalid-url") -> None:
    if not host or _HOST.fullmatch(f"[{host}]" if ":" in host else host) is None:
        raise _invalid_url(text, "it names no host", "write https://HOST[:PORT]/PATH", code=code)


def _invalid_url(text: str, problem: str, hint: str, *, code: str = "invalid-url") -> InvalidProject:
    shown = _LOGIN.sub("//***@", text[:150])
    return InvalidProject(f"not a usable URL: {shown!r}: {problem}", code=code, hint=hint)


def _secret_in_url(hint: str) -> InvalidProject:
    return InvalidProject(
        "the URL has a password or user in it, which does not belong in a file", code="secret-in-url", hint=hint
    )
