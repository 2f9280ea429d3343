"""A destination with mirrors: what only a mirror has is not at the destination."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.oci import Reference
from provender.relocate.mapping import Mapping
from provender.relocate.plan import make_plan
from provender.relocate.verify import verify
from provender.relocate.wish import Wish
from provender.storage.layout import LayoutStorage
from support.graphs import carry, family
from support.mirrors import Mirrors
from support.registry import TestRegistry
from support.registry_client import Repositories


@pytest.fixture
def places(tmp_path: Path) -> Iterator[tuple[Mirrors, TestRegistry]]:
    """The alias `acme` at an empty location with a mirror that has everything, and that location."""
    repositories = Repositories()
    with TestRegistry() as location, TestRegistry() as mirror:
        source = LayoutStorage(tmp_path / "app", create=True)
        family(source)
        carry(source, repositories.client(mirror).repository("app"), "1.0")
        with Mirrors(tmp_path, location.host, (mirror.host, True)) as mirrors:
            yield mirrors, location
    repositories.close()


def test_a_plan_and_a_verification_ask_the_destination_and_not_its_mirrors(
    places: tuple[Mirrors, TestRegistry], tmp_path: Path
) -> None:
    mirrors, location = places
    wishes = [Wish.parse(f"layout:{tmp_path / 'app'}:1.0")]
    plan = make_plan(wishes, Mapping(base="acme"), mirrors.storages, mirrors.storages)
    (leg,) = plan.legs
    assert len(leg.documents) == 10
    assert all(change.is_change for change in leg.tags)
    assert len(verify(plan, mirrors.storages).faults) > 10
    assert location.requests
    writable = mirrors.storages.open(Reference.parse(leg.destination), create=True).writable
    carry(LayoutStorage(tmp_path / "app"), writable, "1.0")
    assert verify(plan, mirrors.storages).faults == ()
