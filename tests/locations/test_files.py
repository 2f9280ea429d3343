"""`registries.yaml`: everything that the format has, and errors with file:line:column."""

from __future__ import annotations

from pathlib import Path

import pytest

from provender.errors import InvalidProject
from provender.locations.files import Registries, parse_registries, read_registries
from provender.locations.model import HostTarget, LayoutTarget, Mirror, Origin

DOCUMENTED = """\
version: 1
registries:
  acme:
    location: artifactory.corp.example/apm-remote    # host[:port][/prefix], or layout:PATH
    mirrors:
      - {location: mirror.eu.corp.example/apm, resolve: false}   # serves by digest only, unless resolve: true
    fallback: location         # location | none (mirrors only)
    plainHttp: false
    ca: corp-ca.pem
rewrites:                      # for concrete references; the longest prefix wins
  - {prefix: ghcr.io/acme-oss, location: artifactory.corp.example/ghcr-acme}
  - {prefix: docker.io, blocked: true}
"""


def parse(text: str) -> Registries:
    return parse_registries(text, source="user-file", shown_as="r.yaml", resolve=lambda path: Path("/base") / path)


def test_the_documented_file_is_read_whole() -> None:
    read = parse(DOCUMENTED)
    acme = read.bindings["acme"]
    assert acme.location == HostTarget("artifactory.corp.example", "apm-remote")
    assert acme.mirrors == (Mirror(HostTarget("mirror.eu.corp.example", "apm")),)
    assert acme.fallback == "location"
    assert acme.plain_http is False
    assert acme.ca == Path("/base/corp-ca.pem")
    assert acme.origins["location"] == Origin("user-file", "r.yaml:4:5")
    assert acme.origins["ca"] == Origin("user-file", "r.yaml:9:5")
    first, second = read.rewrites
    assert (first.prefix, first.target) == (
        HostTarget("ghcr.io", "acme-oss"),
        HostTarget("artifactory.corp.example", "ghcr-acme"),
    )
    assert second.is_blocked
    assert second.origin.where == "r.yaml:12:5"


def test_what_is_not_said_stays_open() -> None:
    acme = parse("version: 1\nregistries:\n  acme: {location: 'layout:s'}\n  other:\n").bindings["acme"]
    assert acme.location == LayoutTarget(Path("/base/s"))
    assert set(acme.origins) == {"location"}
    assert (acme.mirrors, acme.fallback, acme.plain_http, acme.ca) == (None, None, None, None)


def test_an_empty_list_of_mirrors_is_said() -> None:
    acme = parse("version: 1\nregistries: {acme: {mirrors: []}}").bindings["acme"]
    assert acme.mirrors == ()
    assert acme.said("mirrors") == "none"


@pytest.mark.parametrize("text", ["version: 1", "version: 1\nregistries:\nrewrites:\n", "version: 1\nx-note: 1"])
def test_a_file_may_say_nothing(text: str) -> None:
    assert parse(text) == Registries({})


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("registries: {}", "missing-key", "r.yaml:1:1"),
        ("version: 2", "invalid-value", "r.yaml:1:10"),
        ("version: 1\nregistries: {acme: {locaton: a.b}}", "unknown-key", "r.yaml:2:21"),
        ("version: 1\nregistries: {Acme: {}}", "invalid-alias", "r.yaml:2:14"),
        ("version: 1\nregistries: {ghcr.io: {}}", "invalid-alias", "r.yaml:2:14"),
        ("version: 1\nregistries:\n  a: {location: harbor}", "invalid-location", "r.yaml:3:17"),
        ("version: 1\nregistries:\n  a: {location: ''}", "invalid-location", "r.yaml:3:17"),
        ("version: 1\nregistries:\n  a: {ca: ''}", "invalid-value", "r.yaml:3:11"),
        ("version: 1\nregistries:\n  a: {mirrors: [{location: 'layout:m'}]}", "invalid-location", "r.yaml:3:28"),
        ("version: 1\nrewrites: [{prefix: a.b}]", "invalid-value", "r.yaml:2:12"),
        ("version: 1\nrewrites: [{prefix: a.b, location: c.d, blocked: true}]", "invalid-value", "r.yaml:2:12"),
        ("version: 1\nrewrites: [{prefix: b, blocked: true}]", "invalid-location", "r.yaml:2:21"),
        (
            "version: 1\nrewrites: [{prefix: a.b, blocked: true}, {prefix: a.b, location: c.d}]",
            "duplicate-rewrite",
            "r.yaml:2:42",
        ),
        ("version: 1\nregistries: {acme: {}, acme: {}}", "duplicate-key", "r.yaml:2:24"),
    ],
)
def test_errors_name_line_and_column(text: str, code: str, where: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        parse(text)
    assert (caught.value.code, caught.value.where) == (code, where)
    assert caught.value.hint or code == "invalid-value"


def test_an_absent_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "no.yaml", tmp_path / "file" / "no.yaml"):
        assert read_registries(path, source="user-file", shown_as="x", resolve=Path) is None


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(InvalidProject) as caught:
        read_registries(path, source="user-file", shown_as="r.yaml", resolve=Path)
    assert caught.value.code == "settings-too-large"
