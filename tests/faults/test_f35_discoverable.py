"""F35: a destination that takes referrers and does not list them. The exit status says so, before the tags."""

from __future__ import annotations

import pytest

from provender.errors import VerificationFailed
from provender.storage.memory import MemoryStorage
from provender.storage.registry import RegistryRepository
from provender.transfer.copy import CopyOptions
from support.graphs import carry, push
from support.registry import Status, TestRegistry


def signed() -> MemoryStorage:
    memory = MemoryStorage()
    root = push(memory, "root", "1.0")
    push(memory, "signature", subject=root.descriptor)
    return memory


@pytest.mark.parametrize("header", [True, False])
def test_f35_an_api_that_never_lists_is_found_out(
    registry: TestRegistry, repository: RegistryRepository, header: bool
) -> None:
    registry.content.referrers = True
    registry.content.referrer_rules.lists = False
    registry.content.referrer_rules.header = header
    with pytest.raises(VerificationFailed) as caught:
        carry(signed(), repository, "1.0")
    assert (caught.value.code, caught.value.exit_status) == ("not-discoverable", 84)
    assert "1.0" not in registry.tags("acme/app")


def test_f35_a_fallback_tag_that_is_not_kept_is_found_out(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.fault(("PUT", "/manifests/sha256-"), action=Status(201), times=100)
    with pytest.raises(VerificationFailed) as caught:
        carry(signed(), repository, "1.0")
    assert caught.value.exit_status == 84
    assert registry.tags("acme/app") == {}


def test_f35_whoever_knows_the_tag_form_may_go_on(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.referrers = True
    registry.content.referrer_rules.lists = False
    memory = signed()
    carry(memory, repository, "1.0", copy_options=CopyOptions(is_listing_required=False))
    root = memory.resolve("1.0")
    assert registry.tags("acme/app")["1.0"] == root.digest
    assert len(list(repository.referrers(root.digest))) == 1  # under the fallback tag


def test_f35_a_list_that_comes_a_moment_later_is_waited_for(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.content.referrers = True
    empty = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    late = Status(200, {"Content-Type": "application/vnd.oci.image.index.v1+json"}, empty)
    registry.fault(("GET", "/referrers/"), action=late, times=1)
    carry(signed(), repository, "1.0")
    assert set(registry.tags("acme/app")) == {"1.0"}
