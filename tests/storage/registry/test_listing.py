from __future__ import annotations

import json

import pytest

from provender.errors import Denied, InvalidDocument, Unavailable
from provender.storage.registry import RegistryRepository
from support.registry import SetHeader, Status, TestRegistry
from support.registry_client import Connector


def fill(registry: TestRegistry, count: int) -> list[str]:
    registry.push_manifest("acme/app", b"{}")
    names = [f"v{number:05}" for number in range(count)]
    registry.content.repository("acme/app").tag_digests.update(dict.fromkeys(names, "sha256:x"))
    return names


def a_page(*tags: object, **fields: object) -> bytes:
    return json.dumps({"name": "acme/app", "tags": list(tags), **fields}).encode()


@pytest.mark.parametrize("absolute", [False, True])
def test_pages_are_followed_by_link(connect: Connector, absolute: bool) -> None:
    with TestRegistry(absolute_urls=absolute) as registry:
        names = fill(registry, 25)
        registry.content.page_size = 10
        assert list(connect(registry).repository("acme/app").tags()) == names
        assert registry.count() == 3


def test_a_thousand_are_asked_for_at_once(registry: TestRegistry, repository: RegistryRepository) -> None:
    names = fill(registry, 2500)
    assert list(repository.tags()) == names
    assert [item.query for item in registry.requests] == ["n=1000", "n=1000&last=v00999", "n=1000&last=v01999"]


def test_pages_are_fetched_as_they_are_needed(registry: TestRegistry, repository: RegistryRepository) -> None:
    fill(registry, 2500)
    assert next(repository.tags()) == "v00000"
    assert registry.count() == 1


def test_a_full_page_without_link_is_followed_by_last(registry: TestRegistry, repository: RegistryRepository) -> None:
    names = [f"t{number:04}" for number in range(1000)]
    registry.fault(("GET", "/tags/"), action=Status(200, {}, a_page(*names)))
    registry.fault(("GET", "/tags/"), action=Status(200, {}, a_page("u1", "u2")))
    assert list(repository.tags()) == [*names, "u1", "u2"]
    assert registry.requests[1].query == "n=1000&last=t0999"


def test_a_registry_that_ignores_all_parameters_ends(registry: TestRegistry, repository: RegistryRepository) -> None:
    names = [f"t{number:04}" for number in range(1000)]
    registry.fault(("GET", "/tags/"), action=Status(200, {}, a_page(*names)), times=99)
    assert list(repository.tags()) == names
    assert registry.count() == 2


def test_a_registry_that_refuses_the_size_is_asked_without(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    names = fill(registry, 3)
    registry.fault(("GET", "n=1000"), action=Status(400, {}, b'{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}'))
    assert list(repository.tags()) == names
    assert [item.query for item in registry.requests] == ["n=1000", ""]


@pytest.mark.parametrize("body", [a_page(), b'{"name":"acme/app","tags":null}', b"{}"])
def test_an_empty_list_is_no_error(registry: TestRegistry, repository: RegistryRepository, body: bytes) -> None:
    registry.fault(("GET", "/tags/"), action=Status(200, {}, body))
    assert list(repository.tags()) == []


def test_what_is_no_tag_is_left_out_with_a_warning(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    body = a_page("good", "\x1b[31mbad", "../up", 7, None, "good")
    registry.fault(("GET", "/tags/"), action=Status(200, {}, body))
    assert list(repository.tags()) == ["good"]
    assert len(connect.warnings) == 2
    assert "\x1b" not in "".join(connect.warnings)


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"tags": "x"}', b'{"tags": [], "tags": []}', b"[" * 100_000])
def test_a_list_that_cannot_be_read_is_an_error(
    registry: TestRegistry, repository: RegistryRepository, body: bytes
) -> None:
    registry.fault(("GET", "/tags/"), action=Status(200, {}, body))
    with pytest.raises(InvalidDocument) as caught:
        list(repository.tags())
    assert caught.value.where == f"{registry.host}/acme/app"


def test_a_link_to_itself_ends(registry: TestRegistry, repository: RegistryRepository) -> None:
    fill(registry, 2)
    registry.fault(("GET", "/tags/"), action=SetHeader("Link", '</v2/acme/app/tags/list?n=7>; rel="next"'), times=99)
    assert list(repository.tags()) == ["v00000", "v00001"]
    assert registry.count() == 2


def test_an_empty_page_with_a_link_is_followed(registry: TestRegistry, repository: RegistryRepository) -> None:
    link = {"Link": '</v2/acme/app/tags/list?n=7>; rel="next"'}
    registry.fault(("GET", "/tags/"), action=Status(200, link, a_page()))
    names = fill(registry, 2)
    assert list(repository.tags()) == names


def test_a_link_to_another_host_is_refused(registry: TestRegistry, repository: RegistryRepository) -> None:
    fill(registry, 2)
    with TestRegistry() as other:
        target = f'<{other.url}/v2/acme/app/tags/list?n=7>; rel="next"'
        registry.fault(("GET", "/tags/"), action=SetHeader("Link", target))
        with pytest.raises(Denied) as caught:
            list(repository.tags())
        assert caught.value.code == "foreign-link"
        assert other.count() == 0


def test_pages_that_would_fill_the_memory_are_an_error(registry: TestRegistry, repository: RegistryRepository) -> None:
    for number in range(8):
        link = {"Link": f'</v2/acme/app/tags/list?page={number}>; rel="next"'}
        registry.fault(("GET", "/tags/"), action=Status(200, link, a_page(f"{number}" + "x" * (15 << 20))))
    with pytest.raises(Unavailable) as caught:
        list(repository.tags())
    assert caught.value.code == "too-many-pages"
    assert registry.count() == 5
