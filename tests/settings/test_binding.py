"""Typed values from a settings tree, and the errors that point into the file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest

from provender.errors import InvalidProject, InvalidReference
from provender.oci import Digest
from provender.settings import convert, load, load_tree


class Mirror(msgspec.Struct, frozen=True):
    location: str
    resolve: bool = False


class Registry(msgspec.Struct, frozen=True, rename="camel"):
    location: str | None = None
    mirrors: tuple[Mirror, ...] = ()
    fallback: Literal["location", "none"] = "location"
    plain_http: bool = False
    weight: Annotated[int, msgspec.Meta(ge=0)] = 0
    digest: Digest | None = None


class Checked(msgspec.Struct, frozen=True):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


class Settings(msgspec.Struct, frozen=True):
    version: Literal[1]
    registries: dict[str, Registry | None] = {}
    short: dict[str, str | Mirror] = {}
    checked: list[Checked] = []
    pair: tuple[int, str] | None = None


class Cat(msgspec.Struct, tag="cat"):
    lives: int = 9


class Dog(msgspec.Struct, tag="dog"):
    name: str = ""


class Zoo(msgspec.Struct):
    animals: list[Cat | Dog]


def hook(kind: type, value: object) -> object:
    if kind is Digest and isinstance(value, str):
        return Digest(value)
    raise TypeError(f"not a {kind.__name__.lower()}")


def read(text: str) -> Settings:
    return load("version: 1\n" + text, Settings, where="f.yaml", dec_hook=hook)


def refused(text: str) -> InvalidProject:
    with pytest.raises(InvalidProject) as caught:
        read(text)
    return caught.value


def test_values_arrive_typed() -> None:
    digest = "sha256:" + "a" * 64
    settings = read(
        f"registries:\n  acme: {{location: h/p, plainHttp: true, digest: '{digest}', mirrors: [{{location: m}}]}}\n"
        "  other:\nshort: {a: b, c: {location: d}}\npair: [1, x]\n"
    )
    acme = settings.registries["acme"]
    assert acme == Registry(location="h/p", plain_http=True, digest=Digest(digest), mirrors=(Mirror("m"),))
    assert isinstance(acme, Registry)
    assert isinstance(acme.digest, Digest)
    assert settings.registries["other"] is None
    assert settings.short == {"a": "b", "c": Mirror("d")}
    assert settings.pair == (1, "x")


@pytest.mark.parametrize(
    ("text", "code", "where", "message"),
    [
        ("registries: {acme: {locaton: h}}", "unknown-key", "2:21", "unknown key 'locaton' in registries.acme"),
        ("registry: {}", "unknown-key", "2:1", "unknown key 'registry'"),
        ("short: {a: {lokation: b}}", "unknown-key", "2:13", "unknown key 'lokation' in short.a"),
        ("registries:\n  a: {plainHttp: yes}", "invalid-value", "3:18", "must be true or false, not the text 'yes'"),
        ("registries:\n  a: {location: 1.10}", "invalid-value", "3:17", "must be text, not the number 1.10"),
        ("registries:\n  a: {location: [b]}", "invalid-value", "3:17", "must be text, not a list"),
        ("registries:\n  a: h", "invalid-value", "3:6", "registries.a must be a mapping, not the text 'h'"),
        ("registries: [a]", "invalid-value", "2:13", "registries must be a mapping, not a list"),
        ("short: {a: 1}", "invalid-value", "2:12", "short.a must be text or a mapping, not the number 1"),
        (
            "registries:\n  a: {fallback: locations}",
            "invalid-value",
            "3:17",
            "registries.a.fallback must be one of 'location', 'none', not the text 'locations'",
        ),
        (
            "registries:\n  a: {mirrors: [{location: b}, {resolve: true}]}",
            "missing-key",
            "3:32",
            "registries.a.mirrors[1] lacks the key 'location'",
        ),
        ("registries: {a: {weight: -1}}", "invalid-value", "2:26", "registries.a.weight"),
        ("checked:\n - {low: 1, high: 2}\n - {low: 3, high: 2}", "invalid-value", "4:4", "low is above high"),
        ("registries: {a: {digest: sha256:abc}}", "invalid-digest", "2:26", "registries.a.digest: not a sha256"),
        ("registries: {a: {digest: [1]}}", "invalid-value", "2:26", "registries.a.digest: not a digest"),
        ("pair: [1, 2]", "invalid-value", "2:11", "pair[1] must be text, not the number 2"),
        ("pair: [1]", "invalid-value", "2:7", "pair"),
    ],
)
def test_errors_point_at_the_value_in_plain_words(text: str, code: str, where: str, message: str) -> None:
    error = refused(text)
    assert (error.code, error.where) == (code, f"f.yaml:{where}")
    assert message in error.message
    assert "`" not in error.message or "weight" in text or text == "pair: [1]"
    assert error.exit_status == 78


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("registries: {acme: {locaton: h}}", "did you mean location?"),
        ("registries: {acme: {plain_http: true}}", "did you mean plainHttp?"),
        ("registries: {acme: {zzz: h}}", "known here: location, mirrors"),
        ("registries: {a: {fallback: locations}}", "did you mean location?"),
        ("registries: {a: {location: 1.10}}", 'put it in quotes to mean text: "1.10"'),
        ("registries: {a: {mirrors: [{}]}}", "add location"),
    ],
)
def test_near_misses_are_named(text: str, hint: str) -> None:
    assert hint in (refused(text).hint or "")


@pytest.mark.parametrize(("text", "message"), [("", "the file must be a mapping"), ("{}", "lacks the key 'version'")])
def test_an_empty_file_is_told_plainly(text: str, message: str) -> None:
    with pytest.raises(InvalidProject, match=message) as caught:
        load(text, Settings, where="f.yaml")
    assert caught.value.where == "f.yaml:1:1"


def test_keys_with_x_are_free_in_every_struct() -> None:
    settings = read(
        "x-top: {any: [thing]}\nregistries: {a: {x-note: 1, location: h}}\nchecked: [{x-: 1, low: 1, high: 2}]"
    )
    assert settings.registries == {"a": Registry(location="h")}


def test_names_in_a_map_may_begin_with_x() -> None:
    assert read("short: {x-ray: a}").short == {"x-ray": "a"}


def test_unknown_keys_may_be_allowed() -> None:
    tree = load_tree("version: 1\nfuture: 2\n", where="f")
    assert convert(tree, Settings, forbid_unknown=False) == Settings(version=1)


def test_a_part_is_converted_with_the_files_positions() -> None:
    part = load_tree("dependencies:\n  k8s: {location: h, resolv: true}\n", where="f.yaml").at("dependencies", "k8s")
    assert part is not None
    with pytest.raises(InvalidProject, match=r"in dependencies\.k8s") as caught:
        convert(part, Mirror)
    assert caught.value.where == "f.yaml:2:22"
    assert caught.value.hint == "did you mean resolve?"


def test_tagged_structs_are_told_apart() -> None:
    assert load("animals: [{type: cat}, {type: dog, name: x}]", Zoo, where="f").animals == [Cat(), Dog("x")]
    with pytest.raises(InvalidProject) as caught:
        load("animals: [{type: cat, name: x}]", Zoo, where="f")
    assert (caught.value.code, caught.value.where) == ("unknown-key", "f:1:23")
    with pytest.raises(InvalidProject) as caught:
        load("animals: [{type: cow}]", Zoo, where="f")
    assert (caught.value.where, caught.value.message) == (
        "f:1:18",
        "animals[0].type must be one of 'cat', 'dog', not the text 'cow'",
    )
    with pytest.raises(InvalidProject) as caught:
        load("animals: [{type: cta}]", Zoo, where="f")
    assert caught.value.hint == "did you mean cat?"
    with pytest.raises(InvalidProject) as caught:
        load("animals: [{name: x}]", Zoo, where="f")
    assert (caught.value.code, caught.value.where) == ("missing-key", "f:1:11")


def test_an_error_of_the_grammar_becomes_one_of_the_project() -> None:
    error = refused("registries: {a: {digest: x}}")
    assert isinstance(error.__cause__, InvalidReference)
    assert error.hint == "a digest is sha256: and 64 lower-case hexadecimal characters"


def test_deep_data_below_a_free_key_is_no_matter() -> None:
    assert read("x-deep: " + "[" * 60 + "]" * 60).version == 1
