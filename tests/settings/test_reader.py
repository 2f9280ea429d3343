"""The YAML reader: the core schema, positions, and what it refuses."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provender.errors import InvalidProject
from provender.settings import MAX_SETTINGS_BYTES, load_tree


@pytest.fixture(params=[pytest.param(True, id="libyaml"), pytest.param(False, id="python")], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every test runs over both parsers that PyYAML may have."""
    if request.param and not yaml.__with_libyaml__:
        pytest.skip("this PyYAML is built without libyaml")
    monkeypatch.setattr(yaml, "__with_libyaml__", request.param)
    return bool(request.param)


def refused(text: str | bytes) -> InvalidProject:
    with pytest.raises(InvalidProject) as caught:
        load_tree(text, where="f.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("1_0", "1_0"),
        ("1:30", "1:30"),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("+1", 1),
        ("-12", -12),
        ("2001-01-01", "2001-01-01"),
        ("=", "="),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("", None),
        ("true", True),
        ("False", False),
        ("tRUE", "tRUE"),
        ("1.10", 1.1),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-.INF", -math.inf),
        (".inf", math.inf),
        (".", "."),
        ("1.2.3", "1.2.3"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1.0", "1.0"),
        ("! 1.0", "1.0"),
        ("!!int 7", 7),
        ("!!float 7", 7),
        ("'<<'", "<<"),
        ("١", "١"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = load_tree(f"key: {text}\n", where="f.yaml").value
    assert found == {"key": value}
    assert isinstance(found, dict)
    assert type(found["key"]) is type(value)


def test_not_a_number_is_read() -> None:
    found = load_tree("[.nan]", where="f.yaml").value
    assert isinstance(found, list)
    assert math.isnan(found[0])


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null"])
def test_an_empty_document_is_none(text: str) -> None:
    assert load_tree(text, where="f.yaml").value is None


def test_json_is_read() -> None:
    assert load_tree('{"a":{"b":[1,true,null,"x"]}}', where="f").value == {"a": {"b": [1, True, None, "x"]}}


def test_bytes_may_begin_with_a_byte_order_mark() -> None:
    assert load_tree(b"\xef\xbb\xbfa: \xc3\xa9\n", where="f").value == {"a": "é"}


def test_positions_name_values_and_keys_from_one() -> None:
    tree = load_tree("version: 1\nregistries:\n  acme:\n    mirrors:\n      - {location: a, é: b}\n", where="f.yaml")
    assert tree.position() == (1, 1)
    assert tree.position(("version",)) == (1, 10)
    assert tree.position(("version",), of_key=True) == (1, 1)
    path = ("registries", "acme", "mirrors", 0)
    assert tree.position(path) == (5, 9)
    assert tree.position((*path, "location")) == (5, 20)
    assert tree.position((*path, "é"), of_key=True) == (5, 23)
    assert tree.place((*path, "é")) == "f.yaml:5:26"


def test_the_position_of_what_is_not_written_is_its_parents() -> None:
    tree = load_tree("a:\n  b: 1\n", where="f")
    assert tree.position(("a", "c", 3)) == (2, 3)
    assert tree.position(("a", 0), of_key=True) == (2, 3)


def test_a_part_keeps_its_place_in_the_file() -> None:
    part = load_tree("a:\n  - b: 1\n", where="f").at("a", 0)
    assert part is not None
    assert part.value == {"b": 1}
    assert part.path == ("a", 0)
    assert part.place(("b",)) == "f:2:8"
    assert part.at("c") is None


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: &x 1", "f.yaml:1:4", "anchors"),
        ("a: *x", "f.yaml:1:4", "aliases"),
        ("&x a: 1", "f.yaml:1:1", "anchors"),
        ("a: &x [1]", "f.yaml:1:4", "anchors"),
        ("<<: {a: 1}", "f.yaml:1:1", "merge keys"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1", "second document"),
        ("a: !!python/object/apply:os.system [x]", "f.yaml:1:4", "python/object"),
        ("a: !!python/name:os.system x", "f.yaml:1:4", "python/name"),
        ("a: !mine 1", "f.yaml:1:4", "!mine"),
        ("!mine\na: 1", "f.yaml:1:1", "!mine"),
        ("a: !!binary aGk=", "f.yaml:1:4", "binary"),
        ("a: !!set {b}", "f.yaml:1:4", "set"),
        ("a: !!str {b: 1}", "f.yaml:1:4", "str"),
        ("a: !!int x", "f.yaml:1:4", "tag"),
        ("1: a", "f.yaml:1:1", "key must be text"),
        ("a: {true: 1}", "f.yaml:1:5", "key must be text"),
        ("? [a]\n: b", "f.yaml:1:3", "not a collection"),
        ("a: {{b}}", "f.yaml:1:5", "not a collection"),
        ("a:\n\t- b", "f.yaml:2:1", "not YAML"),
        ("a: @b", "f.yaml:1:4", "not YAML"),
        ("a: [1, 2\nb: 3", "f.yaml:2:2", "not YAML"),
        ("a: 'b", "f.yaml:1:6", "not YAML"),
        ("a: b\x07", "f.yaml:1:5", "U+0007"),
        ("a: 1\nb: " + "9" * 5000, "f.yaml:2:4", "too long"),
        (b"a: \xff", "f.yaml", "UTF-8"),
        ("a: \ud800", "f.yaml", "UTF-8"),
        ("a: 1\n".encode("utf-16"), "f.yaml", "UTF-8"),
    ],
)
def test_what_is_refused_says_where_and_why(text: str | bytes, where: str, words: str) -> None:
    error = refused(text)
    assert error.code == "invalid-yaml"
    assert error.where == where
    assert words in error.message
    assert error.exit_status == 78


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:\n\t- b", "spaces"),
        ("a: @b", "quotes"),
        ("a: *x", "write the value out"),
        ("1: a", 'quotes: "1"'),
        ("a: [1\nb: 3", "line 1"),
    ],
)
def test_the_usual_slips_have_a_hint(text: str, words: str) -> None:
    assert words in (refused(text).hint or "")


def test_a_duplicate_key_names_both_lines() -> None:
    error = refused("a: 1\nb:\n  c: 1\n  'c': 2\n")
    assert (error.code, error.where) == ("duplicate-key", "f.yaml:4:3")
    assert "line 3" in (error.hint or "")


def test_the_same_key_in_different_mappings_is_no_duplicate() -> None:
    assert load_tree("a: {x: 1}\nb: {x: 1}\n", where="f").value == {"a": {"x": 1}, "b": {"x": 1}}


def test_a_billion_laughs_stops_at_the_first_anchor() -> None:
    lines = ["a0: &a0 [lol, lol]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    assert refused("\n".join(lines)).where == "f.yaml:1:5"


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "])
def test_deep_nesting_is_refused_without_recursion(opening: str) -> None:
    error = refused(opening * 20_000)
    assert error.code == "invalid-yaml"


def test_sixty_four_levels_are_read() -> None:
    value = load_tree("[" * 64 + "]" * 64, where="f").value
    depth = 0
    while isinstance(value, list):
        depth, value = depth + 1, value[0] if value else None
    assert depth == 64
    assert "64 levels" in refused("[" * 65 + "]" * 65).message


def test_a_large_file_is_refused() -> None:
    assert refused("#" * (MAX_SETTINGS_BYTES + 1)).code == "settings-too-large"
    assert refused(b"\xff" * (MAX_SETTINGS_BYTES + 1)).code == "settings-too-large"


def test_too_many_values_are_refused(parser: bool) -> None:
    if not parser:
        pytest.skip("the count is ours and the same; the parser in Python takes seconds to reach it")
    assert "100000 values" in refused("[" + "1," * 100_001 + "]").message


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_by_our_own_error(text: str) -> None:
    try:
        where = load_tree(text, where="f.yaml").place()
    except InvalidProject as error:
        where = error.where or ""
    assert where.startswith("f.yaml")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(codec="ascii"), max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=3),
        max_leaves=12,
    )
)
def test_what_json_writes_is_read_back(value: object) -> None:
    import json

    assert load_tree(json.dumps(value), where="f").value == value
