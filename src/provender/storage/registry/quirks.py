"""What deviates per registry, in one place. Every entry names where the deviation is known from.

Conditions elsewhere read this table, never a host name. A deviation that shows itself in an answer is met where the
answer is read, by everybody who answers so; only what has to be known before is keyed by host.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from provender.oci import Digest

__all__ = [
    "ARTIFACT_REFUSAL_CODES",
    "ARTIFACT_REFUSAL_STATUSES",
    "DELETE_TAGGED_CODES",
    "DELETE_UNSUPPORTED_CODES",
    "DELETE_UNSUPPORTED_STATUSES",
    "HEAD_UNSURE_STATUSES",
    "MOUNT_REFUSED_STATUSES",
    "NO_MOUNT_STATUSES",
    "NO_REFERRERS_STATUSES",
    "NO_SINGLE_POST_STATUSES",
    "NO_TAG_PARAMETER_STATUSES",
    "PATCHED_STATUSES",
    "PROBE_ABSENT_STATUSES",
    "STORED_STATUSES",
    "TAGS_PAGE",
    "HostQuirks",
    "contradicts",
    "host_quirks",
]


class HostQuirks(msgspec.Struct, frozen=True, kw_only=True):
    """How one host deviates from the specification, where that has to be known before it is asked."""

    api_host: str | None = None
    namespace: str | None = None  # for names of a single component
    credential_keys: tuple[str, ...] = ()  # the first is the one that Docker writes
    counts_manifest_gets: bool = False  # against a quota, HEAD not
    chunk_min_bytes: int = 0
    chunk_max_bytes: int | None = None


# Docker Hub: the API lives on another host, official images below `library/`, and Docker keeps its credentials under a
# key of the first API (docker/cli, cli/config/credentials; distribution/reference, normalize.go). GET of a manifest
# counts against the pull limit, HEAD does not (updatecli, "Docker Hub rate limit").
_DOCKER_HUB: Final = HostQuirks(
    api_host="registry-1.docker.io",
    namespace="library",
    credential_keys=(
        "https://index.docker.io/v1/",
        "docker.io",
        "index.docker.io",
        "registry-1.docker.io",
    ),
    counts_manifest_gets=True,
)
# GHCR: a PATCH over 4 MiB is answered 416 "exceeds the maximum permissible limit of 4.00MiB" (ocx-sh/ocx PR 237); one
# PUT of any size is fine.
_GHCR: Final = HostQuirks(chunk_max_bytes=4 << 20)
# ECR: chunks are parts of an S3 upload, at least 5 MiB each but the last (regclient, scheme/reg/blob.go). Its further
# deviations need no key: PATCH answers 201 (mise #11376, tart #273), `Range` in that answer stays at the first chunk
# (containers-roadmap #2831), and a closing PUT without content fails (tart #159).
_ECR: Final = HostQuirks(chunk_min_bytes=5 << 20)

_PLAIN: Final = HostQuirks()
_HOSTS: Final = {
    "docker.io": _DOCKER_HUB,
    "index.docker.io": _DOCKER_HUB,
    "registry-1.docker.io": _DOCKER_HUB,
    "ghcr.io": _GHCR,
    "public.ecr.aws": _ECR,
}
_PATTERNS: Final = (
    (re.compile(r"\d{12}\.dkr[.-]ecr(-fips)?\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|on\.aws)"), _ECR),
    (re.compile(r"containers\.[a-z0-9-]+\.ghe\.com"), _GHCR),
)

# Artifactory answers 403 to HEAD for a missing manifest or blob (RTFACT-13797, seen through go-containerregistry).
# Before an upload both mean "push it": a real refusal comes back from the upload itself.
PROBE_ABSENT_STATUSES: Final = frozenset({403, 404, 405})

# Where nothing is sent anyway, a GET tells what such a HEAD (or one that a proxy does not let through) means.
HEAD_UNSURE_STATUSES: Final = (403, 405)

# A blob is stored: 201 by the specification.
STORED_STATUSES: Final = (201, 200, 204)

# A chunk was taken: 202 by the specification, 201 from ECR (mise #11376, tart #273). What `Range` says with it is not
# looked at, since ECR's is stale; whatever is wrong shows in the digest at the end.
PATCHED_STATUSES: Final = (202, 201, 200, 204)

# "Push it": whatever else than 201 and 202 a registry answers to a mount (distribution-spec, FAQ). Quay fails without
# `from` (go-containerregistry, write.go), which is therefore always sent.
MOUNT_REFUSED_STATUSES: Final = (400, 401, 403, 404, 405, 501)
NO_MOUNT_STATUSES: Final = frozenset({405, 501})

# A POST with content: 201 by the specification where it is taken, 202 where it only opens an upload. Whoever answers
# something else is asked for an upload without content, which tells whether anything else is wrong.
NO_SINGLE_POST_STATUSES: Final = (400, 404, 405, 411, 415, 501)

# No referrers API: 404 by the specification unless the repository is unknown (Quay's rewrite, Harbor: NAME_UNKNOWN,
# which zot never says); 405 and 501 in the wild (aws/containers-roadmap #2783).
NO_REFERRERS_STATUSES: Final = (404, 405, 501)

# Registries before `?tag=` ignore it (docker-registry 2.8.2, by experiment). Who knows it may refuse so many tags at
# once: 414 and 431 by the specification. After these and after 400 each tag is put for itself, which tells.
NO_TAG_PARAMETER_STATUSES: Final = frozenset({400, 414, 431})

# GitLab's allow-list answers 400 MANIFEST_INVALID to artifact types that it does not know (ocx-sh/ocx #480,
# grimoire-rs/grimoire #11), Quay MANIFEST_INVALID to what its list ALLOWED_OCI_ARTIFACT_TYPES lacks (image-spec #1025),
# ECR answered 405 to the manifests of OCI 1.1 (docker/compose #11239). 415 and 422 are what HTTP has for it.
ARTIFACT_REFUSAL_STATUSES: Final = frozenset({400, 405, 415, 422})
ARTIFACT_REFUSAL_CODES: Final = frozenset({"", "MANIFEST_INVALID", "MANIFEST_UNVERIFIED", "UNSUPPORTED", "UNKNOWN"})

# Harbor refuses to delete a tag with the code UNSUPPORTED; docker-registry 2.8 answers 400 DIGEST_INVALID, because it
# reads the tag as a digest; the specification allows 400 and 405 (end-9).
DELETE_UNSUPPORTED_STATUSES: Final = frozenset({400, 405, 501})
DELETE_UNSUPPORTED_CODES: Final = frozenset({"UNSUPPORTED"})

# Google's registries delete no manifest that still has a tag (GoogleCloudPlatform/gcr-cleaner).
DELETE_TAGGED_CODES: Final = frozenset({"GOOGLE_MANIFEST_DANGLING_TAG"})

# ECR refuses more than 1000 tags in a page (go-containerregistry #1091), distribution 3 clamps to 1000, GHCR sends at
# most about 1000 (werf #3671). Whoever refuses even that is asked again without a size. docker-registry 2.8 ignores
# every parameter and sends all tags without `Link` (by experiment): a page that brings nothing new ends the list.
TAGS_PAGE: Final = 1000


def host_quirks(host: str) -> HostQuirks:
    """The deviations of a host (`name[:port]`); none for most."""
    name = host.lower()
    if name in _HOSTS:
        return _HOSTS[name]
    return next((quirks for pattern, quirks in _PATTERNS if pattern.fullmatch(name)), _PLAIN)


def contradicts(reported: str | None, digest: Digest) -> bool:
    """True if a `Docker-Content-Digest` names other content of the same algorithm.

    docker-registry 2.x takes content by sha512 but reports its sha256 (seen by experiment with 2.8.2); some registries
    report nothing (ECR, Docker.Registry.DotNet #34).
    """
    return bool(reported) and reported != digest and str(reported).startswith(f"{digest.algorithm}:")
