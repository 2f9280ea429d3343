"""An archive of several repositories, served as what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from provender.errors import NotFound, Unsupported
from provender.server.stores import open_store
from support.content import manifest
from support.foreign_archives import entry, layout_files, tar

NAME = "org.opencontainers.image.ref.name"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """One tag in two repositories, and a name that no client could ask for."""
    one, two, odd = manifest("one"), manifest("two"), manifest("odd")
    entries = [
        entry(one, {NAME: "ghcr.io/acme/app:1.0"}),
        entry(two, {NAME: "localhost:5000/app:1.0"}),
        entry(odd, {NAME: "../..:1.0"}),
    ]
    (tmp_path / "all.tar").write_bytes(tar(layout_files(entries, [each.raw for each in (one, two, odd)])))
    return tmp_path / "all.tar"


def test_the_repositories_of_an_archive_are_served_under_their_names(archive: Path) -> None:
    store = open_store(archive)
    assert store.names() == ["ghcr.io/acme/app", "localhost_5000/app"]
    for name, content in (("ghcr.io/acme/app", "one"), ("localhost_5000/app", "two")):
        repository = store.find(name)
        assert list(repository.tags()) == ["1.0"]
        assert repository.resolve("1.0") == manifest(content)
        opened = repository.open_blob(manifest(content).digest)
        assert opened is not None
        with opened.reader as reader:
            assert reader.read() == manifest(content).raw
    with pytest.raises(NotFound):
        store.find("app")
    with pytest.raises(Unsupported):
        store.writable("ghcr.io/acme/app", create=True)


def test_with_a_name_an_archive_is_one_repository(archive: Path) -> None:
    assert open_store(archive, name="all").names() == ["all"]


@pytest.mark.parametrize("name", ["nope.tar", "nope.tar.zst", "nope.tar.001"])
def test_an_archive_that_is_not_there_is_no_new_store(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound, match=name):
        open_store(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / name).mkdir()
    assert open_store(tmp_path / name).is_writable, "a directory may be called so"
