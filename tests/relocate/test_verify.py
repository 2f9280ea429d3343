"""What a verification takes for listed: what the destination's own lists say, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import VerificationFailed
from provender.locations import Locations
from provender.oci import Reference
from provender.relocate.apply import ApplyChoices, apply
from provender.relocate.journal import Journal
from provender.relocate.mapping import Mapping
from provender.relocate.plan import RelocationPlan, make_plan
from provender.relocate.verify import refuse_faults, verify
from provender.relocate.wish import Wish
from provender.storage.layout import LayoutStorage
from provender.storage.open import Storages
from support.graphs import push
from support.registry import TestRegistry


@pytest.fixture
def registry() -> Iterator[TestRegistry]:
    with TestRegistry() as server:
        server.content.referrers = True
        yield server


@pytest.fixture
def storages(tmp_path: Path) -> Iterator[Storages]:
    with Storages(Locations.gather(environ={}, cwd=tmp_path), environ={}, plain_http=True) as found:
        yield found


def moved(storages: Storages, registry: TestRegistry, place: Path, *texts: str) -> RelocationPlan:
    """What was relocated from the layout, whether the registry lists it or not."""
    wishes = [Wish.parse(f"layout:{place}{text}") for text in texts]
    plan = make_plan(wishes, Mapping(base=f"{registry.host}/acme"), storages, storages)
    with Journal(place / "journal", plan.digest) as journal:
        apply(plan, storages, storages, journal, choices=ApplyChoices(is_listing_required=False))
    return plan


def test_what_stands_under_the_fallback_tag_beside_an_api_is_not_listed(
    storages: Storages, registry: TestRegistry, tmp_path: Path
) -> None:
    source = LayoutStorage(tmp_path / "app", create=True)
    root = push(source, "root", "1.0")
    signature = push(source, "signature", subject=root.descriptor)
    registry.content.referrer_rules.lists = False
    plan = moved(storages, registry, tmp_path / "app", ":1.0")
    found = verify(plan, storages)
    assert [(fault.kind, fault.digest) for fault in found.faults] == [("not-listed", signature.digest)]
    with pytest.raises(VerificationFailed) as caught:
        refuse_faults(found)
    assert caught.value.exit_status == 84
    registry.content.referrer_rules.lists = True
    assert verify(plan, storages).faults == ()


def test_what_only_its_own_manifest_says_is_not_listed(
    storages: Storages, registry: TestRegistry, tmp_path: Path
) -> None:
    source = LayoutStorage(tmp_path / "app", create=True)
    root = push(source, "root", "1.0")
    signature = push(source, "signature", "signature", subject=root.descriptor)
    plan = moved(storages, registry, tmp_path / "app", ":1.0", ":signature")
    assert verify(plan, storages).faults == ()
    registry.content.referrer_rules.lists = False
    assert [fault.digest for fault in verify(plan, storages).faults] == [signature.digest]


def test_what_names_no_subject_is_listed_under_the_fallback_tag(
    storages: Storages, registry: TestRegistry, tmp_path: Path
) -> None:
    source = LayoutStorage(tmp_path / "app", create=True)
    root = push(source, "root", "1.0")
    bundle = push(source, "bundle", artifact_type="application/vnd.dev.sigstore.bundle.v0.3+json")
    source.relate({root.digest: [bundle.descriptor]})
    plan = moved(storages, registry, tmp_path / "app", ":1.0")
    assert verify(plan, storages).faults == ()
    assert storages.open(Reference.parse(plan.legs[0].destination)).writable.digest_of("1.0") == root.digest
