"""Reference: the three forms, the limits, and what is refused with which hint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.errors import InvalidReference, ProvenderError
from provender.oci import Digest, Reference
from provender.oci.reference import check_repository, is_tag

D256 = "sha256:" + "a" * 64
D512 = "sha512:" + "b" * 128

component = st.from_regex(r"[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
repository = st.lists(component, min_size=1, max_size=4).map("/".join)
tag = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True)
host = st.one_of(
    st.just("localhost"),
    st.from_regex(r"[a-z0-9]{1,8}\.[a-z0-9]{1,8}", fullmatch=True),
    st.tuples(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), st.integers(1, 65535)).map(lambda p: f"{p[0]}:{p[1]}"),
    st.just("[::1]:5000"),
)
alias = st.from_regex(r"[a-z0-9]{1,8}(?:-[a-z0-9]{1,5})?", fullmatch=True).filter(lambda name: name != "localhost")
digest = st.binary(max_size=8).map(Digest.of)


@given(st.one_of(host, alias), repository, st.none() | tag, st.none() | digest)
def test_what_is_written_is_read_back(registry: str, name: str, label: str | None, pin: Digest | None) -> None:
    text = f"{registry}/{name}" + (f":{label}" if label else "") + (f"@{pin}" if pin else "")
    reference = Reference.parse(text)
    assert str(reference) == text
    assert (reference.registry, reference.repository) == (registry, name)
    assert (reference.tag, reference.digest) == (label, pin)
    assert reference.target == (pin or label)
    assert Reference.parse(str(reference)) == reference


@given(st.text(max_size=300))
def test_any_text_is_a_reference_or_an_error_of_ours(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except ProvenderError:
        return
    assert reference.kind in ("registry", "logical", "layout")


@pytest.mark.parametrize(
    ("text", "kind", "registry", "name"),
    [
        ("ghcr.io/a/b", "registry", "ghcr.io", "a/b"),
        ("GHCR.io/a/b", "registry", "ghcr.io", "a/b"),
        ("oci://ghcr.io/a/b", "registry", "ghcr.io", "a/b"),
        ("localhost/a", "registry", "localhost", "a"),
        ("registry:5000/a", "registry", "registry:5000", "a"),
        ("[::1]:5000/a", "registry", "[::1]:5000", "a"),
        ("127.0.0.1:5000/a__b/c-d", "registry", "127.0.0.1:5000", "a__b/c-d"),
        ("acme/greetings", "logical", "acme", "greetings"),
        ("my-team/a/b", "logical", "my-team", "a/b"),
    ],
)
def test_the_first_component_decides(text: str, kind: str, registry: str, name: str) -> None:
    reference = Reference.parse(text)
    assert (reference.kind, reference.registry, reference.repository) == (kind, registry, name)


@pytest.mark.parametrize(
    ("text", "path", "label", "pin"),
    [
        ("layout:./store", "./store", None, None),
        ("layout:./store:v1", "./store", "v1", None),
        ("layout:/a/b.tar:1.0", "/a/b.tar", "1.0", None),
        (f"layout:store@{D256}", "store", None, D256),
        (f"layout:store:v1@{D512}", "store", "v1", D512),
        ("layout:C:\\stores\\one", "C:\\stores\\one", None, None),
        ("layout:a@b/store", "a@b/store", None, None),
        ("layout:with space", "with space", None, None),
        ("layout:a:b/c", "a:b/c", None, None),
    ],
)
def test_layouts(text: str, path: str, label: str | None, pin: str | None) -> None:
    reference = Reference.parse(text)
    assert (reference.kind, reference.registry, reference.tag, reference.digest) == ("layout", path, label, pin)
    assert str(reference) == text


@pytest.mark.parametrize("text", ["nginx", "nginx:1.25", f"nginx@{D256}"])
def test_short_names_of_docker_hub_are_refused_with_the_long_form(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert caught.value.code == "short-name"
    assert "docker.io/library/nginx" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no registry"),
        ("ghcr.io/", "not a repository name"),
        ("ghcr.io/A/b", "lower-case"),
        ("ghcr.io/a//b", "not a repository name"),
        ("ghcr.io/a/../b", "not a repository name"),
        ("ghcr.io/a:", "not a tag"),
        ("ghcr.io/a:1.0+x", "1.0_x"),
        ("ghcr.io/a:" + "t" * 129, "not a tag"),
        ("ghcr.io/a@sha256:12", "not a sha256 digest"),
        ("ghcr.io/a@md5:" + "a" * 32, "cannot be verified"),
        ("ghcr.io/" + "a" * 255, "255"),
        ("host:0/a", "port"),
        ("host:99999/a", "port"),
        ("https://ghcr.io/a", "not a"),
        ("ghcr.io/a b", "spaces"),
        ("ghcr.io/a\n", "control"),
        ("ghcr.io/a\u202e", "not a repository name"),
        ("oci://acme/a", "followed by a host"),
        ("-acme/a", "neither a host"),
        ("layout:", "no path"),
        ("a/" * 5000, "longer"),
    ],
)
def test_what_is_refused_says_why(text: str, says: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert says in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.exit_status == 2


def test_with_target_changes_only_the_target() -> None:
    reference = Reference.parse("acme/a:1").with_target(digest=Digest(D256))
    assert str(reference) == f"acme/a@{D256}"
    assert reference.name == "acme/a"


@given(st.text(max_size=140))
def test_tags_and_repositories_never_hold_path_tricks(text: str) -> None:
    if is_tag(text):
        assert "/" not in text
        assert not text.startswith(".")
    try:
        check_repository(text)
    except InvalidReference:
        return
    assert all(part not in ("", ".", "..") for part in text.split("/"))
