"""The choice of a child of an index."""

from __future__ import annotations

import pytest

from provender.artifact.platforms import choose_platform, host_platform
from provender.errors import NotFound
from provender.oci import Descriptor, Index, Platform
from provender.oci.media_types import MANIFEST


def child(name: str, platform: str | None = None, **annotations: str) -> Descriptor:
    bare = Descriptor.of(name.encode(), MANIFEST)
    return Descriptor(
        media_type=MANIFEST,
        digest=bare.digest,
        size=bare.size,
        platform=None if platform is None else Platform.parse(platform),
        annotations={key.replace("_", "."): text for key, text in annotations.items()} or None,
    )


HERE = child("here", str(host_platform()))
OTHER = child("other", "plan9/mips")
UNKNOWN = child("unknown", "unknown/unknown")
ATTESTATION = Descriptor(
    media_type=MANIFEST,
    digest=UNKNOWN.digest,
    size=1,
    platform=OTHER.platform,
    annotations={"vnd.docker.reference.type": "attestation-manifest"},
)
GENERAL = child("general")


@pytest.mark.parametrize(
    ("children", "wanted", "expected"),
    [
        ([OTHER], None, OTHER),
        ([UNKNOWN, OTHER, ATTESTATION], None, OTHER),
        ([GENERAL], None, GENERAL),
        ([OTHER, HERE], None, HERE),
        ([OTHER, HERE], "plan9/mips", OTHER),
        ([ATTESTATION, OTHER, HERE], "plan9/mips", OTHER),
        ([OTHER, GENERAL], None, GENERAL),
        ([GENERAL, HERE], None, HERE),
        ([GENERAL], "linux/s390x", GENERAL),
        ([child("1", "linux/amd64/v1"), child("2", "linux/amd64")], "linux/x86_64", child("1", "linux/amd64/v1")),
    ],
)
def test_the_child_that_is_meant(children: list[Descriptor], wanted: str | None, expected: Descriptor) -> None:
    platform = None if wanted is None else Platform.parse(wanted)
    assert choose_platform(Index(manifests=tuple(children)), platform) == expected


@pytest.mark.parametrize(
    ("children", "wanted"),
    [
        ([], None),
        ([UNKNOWN], None),
        ([OTHER], "linux/amd64"),
        ([GENERAL, child("general 2")], None),
        ([OTHER, child("third", "plan9/sparc")], None),
    ],
)
def test_without_a_match_what_there_is_gets_listed(children: list[Descriptor], wanted: str | None) -> None:
    with pytest.raises(NotFound) as caught:
        choose_platform(Index(manifests=tuple(children)), None if wanted is None else Platform.parse(wanted))
    assert caught.value.code == "no-matching-platform"
    assert all(str(c.platform or c.digest) in str(caught.value.hint) for c in children if c is not UNKNOWN)


def test_this_machine_does_not_count_where_the_answer_has_to_be_the_same_everywhere() -> None:
    assert choose_platform(Index(manifests=(OTHER,)), here=False) == OTHER
    assert choose_platform(Index(manifests=(OTHER, GENERAL)), here=False) == GENERAL
    with pytest.raises(NotFound) as caught:
        choose_platform(Index(manifests=(OTHER, HERE)), here=False)
    assert caught.value.code == "no-matching-platform"
