"""No dependency confusion: a name means one registry, or it is an error. Nothing is searched, nothing is implied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import InvalidProject, InvalidReference, NotFound
from provender.locations import Locations
from provender.oci import Reference
from provender.storage.open import Storages
from support.registry import TestRegistry


@pytest.fixture
def registry() -> Iterator[TestRegistry]:
    """A registry that somebody else may publish to: it has the name that is looked for."""
    with TestRegistry() as running:
        running.push_artifact("tool", "1.0", [b"not ours"])
        running.push_artifact("acme/tool", "1.0", [b"not ours"])
        running.push_artifact("library/tool", "1.0", [b"not ours"])
        yield running


@pytest.fixture
def own() -> Iterator[TestRegistry]:
    """Our own registry, which lacks it."""
    with TestRegistry() as running:
        running.push_artifact("other", "1.0", [b"ours"])
        yield running


def opener(root: Path, *flags: str) -> Storages:
    environ = {"HOME": str(root)}
    locations = Locations.gather(
        environ=environ, cwd=root, flags=flags, project_dir=root, manifest={"acme": None}, system_dir=root / "etc"
    )
    return Storages(locations, environ=environ)


def test_aliases_are_not_searched_for_what_another_one_lacks(
    tmp_path: Path, own: TestRegistry, registry: TestRegistry
) -> None:
    with opener(tmp_path, f"acme={own.host}", f"public={registry.host}") as storages:
        storage = storages.open(Reference.parse("acme/tool:1.0")).storage
        with pytest.raises(NotFound):
            storage.resolve("1.0")
        with pytest.raises(NotFound):
            list(storage.tags())
    assert own.requests
    assert registry.requests == []


def test_an_alias_that_is_declared_but_not_bound_is_an_error_and_asks_nobody(
    tmp_path: Path, registry: TestRegistry
) -> None:
    with opener(tmp_path, f"public={registry.host}") as storages:
        for create in (False, True):
            with pytest.raises(InvalidProject) as caught:
                storages.open(Reference.parse("acme/tool:1.0"), create=create)
            assert (caught.value.code, caught.value.exit_status) == ("unbound-registry", 78)
    assert registry.requests == []


@pytest.mark.parametrize("text", ["tool", "tool:1.0", "nginx@sha256:" + "0" * 64])
def test_there_is_no_implicit_registry(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert caught.value.code == "short-name"


def test_short_names_and_search_lists_of_other_tools_are_not_taken_over(tmp_path: Path, registry: TestRegistry) -> None:
    conf = tmp_path / "etc" / "containers" / "registries.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(
        f'unqualified-search-registries = ["{registry.host}"]\nshort-name-mode = "permissive"\n'
        f'[aliases]\n"acme/tool" = "{registry.host}/tool"\n"tool" = "{registry.host}/tool"\n'
        f'[[registry]]\nprefix = "acme"\nlocation = "{registry.host}"\n'
    )
    with opener(tmp_path) as storages, pytest.raises(InvalidProject) as caught:
        storages.open(Reference.parse("acme/tool:1.0"))
    assert caught.value.code == "unbound-registry"
    assert registry.requests == []


def test_a_wildcard_of_hosts_toml_is_not_about_names_without_a_host(tmp_path: Path, registry: TestRegistry) -> None:
    hosts = tmp_path / "etc" / "containerd" / "certs.d" / "_default" / "hosts.toml"
    hosts.parent.mkdir(parents=True)
    hosts.write_text(f'[host."http://{registry.host}"]\n')
    with opener(tmp_path) as storages, pytest.raises(InvalidProject):
        storages.open(Reference.parse("acme/tool:1.0"))
    assert registry.requests == []


def test_a_mirror_does_not_decide_what_a_tag_is(tmp_path: Path, own: TestRegistry, registry: TestRegistry) -> None:
    ours = own.push_artifact("tool", "1.0", [b"ours"])
    config = tmp_path / ".provender" / "registries.yaml"
    config.parent.mkdir()
    config.write_text(
        f"version: 1\nregistries: {{acme: {{location: '{own.host}', mirrors: [{{location: '{registry.host}'}}]}}}}\n"
    )
    with opener(tmp_path) as storages:
        storage = storages.open(Reference.parse("acme/tool:1.0")).storage
        assert storage.resolve("1.0").digest == ours
        assert list(storage.tags()) == ["1.0"]
    assert registry.requests == []
