"""The grammar of locations and aliases, and how a rewrite's prefix matches."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.errors import InvalidProject
from provender.locations.model import (
    HostTarget,
    LayoutTarget,
    Mirror,
    Origin,
    Place,
    Rewrite,
    check_alias,
    parse_host_target,
    parse_target,
)


def below_base(text: str) -> Path:
    return Path("/base") / text


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ghcr.io/fluxcd", HostTarget("ghcr.io", "fluxcd")),
        ("artifactory.corp.example/apm-remote/x", HostTarget("artifactory.corp.example", "apm-remote/x")),
        ("Registry.Example.com:5000", HostTarget("registry.example.com:5000")),
        ("localhost", HostTarget("localhost")),
        ("[::1]:5000/a", HostTarget("[::1]:5000", "a")),
        ("oci://ghcr.io/fluxcd", HostTarget("ghcr.io", "fluxcd")),
        ("ghcr.io/fluxcd/", HostTarget("ghcr.io", "fluxcd")),
        ("ghcr.io/", HostTarget("ghcr.io")),
        ("layout:store", LayoutTarget(Path("/base/store"))),
        ("layout:/abs/store", LayoutTarget(Path("/abs/store"))),
    ],
)
def test_locations_are_read(text: str, target: HostTarget | LayoutTarget) -> None:
    assert parse_target(text, "f:1:1", below_base) == target


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "prefix"),
        ("harbor", "harbor:443"),
        ("harbor/team", "harbor:443"),
        ("https://ghcr.io/fluxcd", "write ghcr.io/fluxcd"),
        ("http://h.example:5000", "plainHttp: true"),
        ("ghcr.io/Upper", "prefix"),
        ("ghcr.io/a:tag", "prefix"),
        ("ghcr.io/a@sha256:" + "a" * 64, "prefix"),
        ("ghcr.io//a", "prefix"),
        ("ghcr.io/../a", "prefix"),
        ("h.example:99999", "prefix"),
        ("h.example:x", "prefix"),
        ("a b.example", "prefix"),
        ("layout:", "layout:PATH"),
        ("layout:a\0b", "layout:PATH"),
        ("h.example/" + "a" * 300, "prefix"),
    ],
)
def test_what_is_no_location_is_refused_with_a_hint(text: str, words: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        parse_target(text, "f.yaml:1:2", below_base)
    error = caught.value
    assert (error.code, error.where, error.exit_status) == ("invalid-location", "f.yaml:1:2", 78)
    assert words in (error.hint or "")


def test_a_mirror_has_to_be_a_host() -> None:
    with pytest.raises(InvalidProject, match="a host is needed"):
        parse_host_target("layout:store", "f:1:1")


@pytest.mark.parametrize("text", ["https://user:hunter2@h.example/a", "user:hunter2@h.example/a", "http://u:hunter2@h"])
def test_a_password_in_a_location_is_not_repeated(text: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        parse_target(text, "f:1:1", below_base)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint} {caught.value.where}"


@given(st.text(max_size=40))
def test_any_text_is_a_location_or_refused(text: str) -> None:
    try:
        target = parse_host_target(text, "f:1:1")
    except InvalidProject:
        return
    assert parse_host_target(str(target), "f:1:1") == target


@pytest.mark.parametrize("alias", ["acme", "my-team", "a_b", "a--b", "0", "k8s"])
def test_aliases_are_accepted(alias: str) -> None:
    assert check_alias(alias, "f:1:1") == alias


@pytest.mark.parametrize(
    "alias", ["", "Acme", "ghcr.io", "host:5000", "localhost", "a/b", "-a", "a-", "a b", "layout:a"]
)
def test_what_cannot_be_an_alias_is_refused(alias: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        check_alias(alias, "f:1:1")
    assert (caught.value.code, caught.value.where) == ("invalid-alias", "f:1:1")


@pytest.mark.parametrize(
    ("prefix", "host", "repository", "rest"),
    [
        ("ghcr.io/acme-oss", "ghcr.io", "acme-oss/tool", "tool"),
        ("ghcr.io/acme-oss", "ghcr.io", "acme-oss/a/b", "a/b"),
        ("ghcr.io/acme-oss", "ghcr.io", "acme-oss", ""),
        ("ghcr.io/acme-oss", "ghcr.io", "acme-oss-2/tool", None),
        ("ghcr.io/acme-oss", "ghcr.io", "acme-os", None),
        ("ghcr.io/acme-oss", "ghcr.io.example", "acme-oss/tool", None),
        ("docker.io", "docker.io", "library/nginx", "library/nginx"),
        ("docker.io", "docker.io:443", "library/nginx", "library/nginx"),
        ("docker.io:443", "docker.io", "library/nginx", "library/nginx"),
        ("docker.io:5000", "docker.io", "library/nginx", None),
    ],
)
def test_a_prefix_matches_whole_components(prefix: str, host: str, repository: str, rest: str | None) -> None:
    rule = Rewrite(parse_host_target(prefix, "f"), None, Origin("user-file", "f"))
    assert rule.rest(host, repository) == rest


def test_values_are_written_for_people() -> None:
    assert str(Mirror(HostTarget("m.example", "p"), resolve=True)) == "m.example/p (resolves tags)"
    assert str(LayoutTarget(Path("/s"))) == "layout:/s"
    assert str(Place(host="h.example", repository="a/b")) == "h.example/a/b"
    assert str(Place(store=Path("/s"), repository="a/b")) == "layout:/s/a/b"
    assert str(Place(layout=Path("/l"))) == "layout:/l"
