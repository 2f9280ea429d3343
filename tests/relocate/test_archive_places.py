"""Where repositories go that come from an archive or go into one."""

from __future__ import annotations

import pytest

from provender.errors import InvalidDocument
from provender.oci import Reference
from provender.relocate.mapping import Mapping, Rule, archived_repository


@pytest.mark.parametrize(
    ("base", "source", "destination"),
    [
        ("layout:a.tar", "ghcr.io/acme/app", "layout:a.tar/ghcr.io/acme/app"),
        ("layout:./d/a.tar.zst", "localhost:5000/app", "layout:./d/a.tar.zst/localhost:5000/app"),
        ("layout:a.tar", "acme/app", "layout:a.tar/acme/app"),
        ("layout:a.tar", "layout:./store/app", "layout:a.tar/app"),
        ("layout:a.tar", "layout:b.tar/ghcr.io/acme/app", "layout:a.tar/ghcr.io/acme/app"),
        ("host.example/m", "layout:a.tar/ghcr.io/acme/app", "host.example/m/acme/app"),
        ("host.example/m", "layout:a.tar.zst.001/localhost:5000/app", "host.example/m/app"),
        ("host.example/m", "layout:a.tar/acme/app", "host.example/m/acme/app"),
        ("host.example/m", "layout:./d/a.tar.zst.parts", "host.example/m/a"),
        ("host.example/m", "layout:a.tgz", "host.example/m/a"),
        ("layout:store", "layout:a.tar/ghcr.io/acme/app", "layout:store/acme/app"),
    ],
)
def test_a_base_takes_a_repository(base: str, source: str, destination: str) -> None:
    assert Mapping(base=base).destination(Reference.parse(source)).name == destination


def test_rules_are_for_the_names_that_repositories_have_in_an_archive() -> None:
    mapping = Mapping(base="host.example/m", rules=(Rule.parse("ghcr.io/acme=host.example/ours"),))
    assert mapping.destination(Reference.parse("layout:a.tar/ghcr.io/acme/app")).name == "host.example/ours/app"
    assert mapping.destination(Reference.parse("layout:a.tar/ghcr.io/other/app")).name == "host.example/m/other/app"


@pytest.mark.parametrize(
    "place", ["a.tar/ghcr.io/acme/../../etc/app", "a.tar/ghcr.io/acme/..", "a.bin/x/..", "a.tar/ghcr.io/acme//app"]
)
@pytest.mark.parametrize("base", ["layout:store", "layout:b.tar", "host.example/m"])
def test_a_name_in_an_archive_leads_out_of_nothing(base: str, place: str) -> None:
    for rules in ((), (Rule.parse("ghcr.io/acme=layout:other"),)):
        with pytest.raises(InvalidDocument) as caught:
            Mapping(base=base, rules=rules).destination(Reference(kind="layout", registry=place))
        assert caught.value.code == "bad-repository-name"


@pytest.mark.parametrize("text", ["ghcr.io/a.tar/b", "layout:a.tar", "layout:./dir/a", "layout:a.tar.d/b"])
def test_what_lies_in_no_archive(text: str) -> None:
    assert archived_repository(Reference.parse(text)) is None
