"""Origins in words: where a dependency comes from and what is asked for, for tables and messages. Project layer."""

from __future__ import annotations

from provender.project.origin import (
    DirectoryOrigin,
    GithubOrigin,
    GitOrigin,
    HelmOrigin,
    HttpOrigin,
    ImageOrigin,
    InlineOrigin,
    OciOrigin,
    Origin,
)

__all__ = ["place_of", "request_of"]


def place_of(origin: Origin) -> str:
    """Where it comes from: a repository, a URL, a path; empty for what has no place."""
    match origin:
        case OciOrigin() | ImageOrigin():
            return origin.reference.name
        case GitOrigin() | HttpOrigin():
            return origin.url
        case GithubOrigin():
            return f"{origin.api}/repos/{origin.repository}"
        case HelmOrigin():
            return f"{origin.repository}/{origin.chart}"
        case DirectoryOrigin():
            return origin.path
        case InlineOrigin():
            return f"{len(origin.files)} {'file' if len(origin.files) == 1 else 'files'} in the manifest"
        case _:
            return ""


def request_of(origin: Origin) -> str:
    """Which version is asked for; empty where there is no choice."""
    match origin:
        case OciOrigin() | ImageOrigin():
            return str(origin.requested)
        case GitOrigin():
            return str(origin.requested) or "default branch"
        case GithubOrigin() | HelmOrigin():
            return str(origin.requested)
        case HttpOrigin():
            return "" if origin.sha256 is None else f"sha256:{origin.sha256}"
        case _:
            return ""
