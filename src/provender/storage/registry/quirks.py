"""What deviates per registry, in one place. Every entry names where the deviation is known from.

Only what the client uses now is here; conditions elsewhere read this table, never a host name.
"""

from __future__ import annotations

from typing import Final

import msgspec

from provender.oci import Digest

__all__ = [
    "DELETE_UNSUPPORTED_CODES",
    "DELETE_UNSUPPORTED_STATUSES",
    "PROBE_ABSENT_STATUSES",
    "TAGS_PAGE",
    "HostQuirks",
    "contradicts",
    "host_quirks",
]


class HostQuirks(msgspec.Struct, frozen=True, kw_only=True):
    """How one host deviates from `host/v2/name`."""

    api_host: str | None = None
    namespace: str | None = None  # for names of a single component
    credential_keys: tuple[str, ...] = ()  # the first is the one that Docker writes


# Docker Hub: the API lives on another host, official images below `library/`, and Docker keeps its credentials under a
# key of the first API (docker/cli, cli/config/credentials; distribution/reference, normalize.go).
_DOCKER_HUB: Final = HostQuirks(
    api_host="registry-1.docker.io",
    namespace="library",
    credential_keys=(
        "https://index.docker.io/v1/",
        "docker.io",
        "index.docker.io",
        "registry-1.docker.io",
    ),
)
_HOSTS: Final = {
    "docker.io": _DOCKER_HUB,
    "index.docker.io": _DOCKER_HUB,
    "registry-1.docker.io": _DOCKER_HUB,
}
_PLAIN: Final = HostQuirks()

# Artifactory answers 403 to HEAD for a missing manifest or blob (RTFACT-13797, seen through go-containerregistry).
# Before an upload both mean "push it": a real refusal comes back from the upload itself.
PROBE_ABSENT_STATUSES: Final = frozenset({403, 404, 405})

# Harbor refuses to delete a tag with the code UNSUPPORTED; docker-registry 2.8 answers 400 DIGEST_INVALID, because it
# reads the tag as a digest; the specification allows 400 and 405 (end-9).
DELETE_UNSUPPORTED_STATUSES: Final = frozenset({400, 405, 501})
DELETE_UNSUPPORTED_CODES: Final = frozenset({"UNSUPPORTED"})

# ECR refuses more than 1000 tags in a page (go-containerregistry #1091), distribution 3 clamps to 1000, GHCR sends at
# most about 1000 (werf #3671). Whoever refuses even that is asked again without a size.
TAGS_PAGE: Final = 1000


def host_quirks(host: str) -> HostQuirks:
    """The deviations of a host; none for most."""
    return _HOSTS.get(host, _PLAIN)


def contradicts(reported: str | None, digest: Digest) -> bool:
    """True if a `Docker-Content-Digest` names other content of the same algorithm.

    docker-registry 2.x takes content by sha512 but reports its sha256 (seen by experiment with 2.8.2); some registries
    report nothing (ECR, Docker.Registry.DotNet #34).
    """
    return bool(reported) and reported != digest and str(reported).startswith(f"{digest.algorithm}:")
