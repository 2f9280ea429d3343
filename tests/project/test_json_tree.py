"""The JSON reader with positions agrees with the standard one, and points at what is wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provender.errors import InvalidProject
from provender.project.json_tree import load_json_tree

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(_VALUES, st.sampled_from([None, 2, "\t"]), st.booleans())
def test_reads_what_the_standard_reader_reads(value: object, indent: int | str | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert load_json_tree(text.encode(), where="x").value == value


@settings(deadline=None)
@given(st.text(alphabet='{}[]",:0123.eE-+ \n\\utrfalsn', max_size=30))
def test_refuses_what_the_standard_reader_refuses(text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        with pytest.raises(InvalidProject):
            load_json_tree(text.encode(), where="x")
        return
    try:
        assert load_json_tree(text.encode(), where="x").value == value
    except InvalidProject as error:
        assert error.code in ("duplicate-key", "invalid-json")  # noqa: PT017 - stricter than the standard reader


def test_positions_of_keys_and_values() -> None:
    tree = load_json_tree('{"a": [1,\n  {"é": true}],\r\n "b": null}'.encode(), where="f")
    assert tree.position(("a",)) == (1, 7)
    assert tree.position(("a", 1)) == (2, 3)
    assert tree.position(("a", 1, "é")) == (2, 9)
    assert tree.position(("a", 1, "é"), of_key=True) == (2, 4)
    assert tree.place(("b",), of_key=True) == "f:3:2"


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ('{"a": 1,\n "a": 2}', "duplicate-key", "f:2:2"),
        ('{"a" 1}', "invalid-json", "f:1:6"),
        ('{"a": 1 "b": 2}', "invalid-json", "f:1:9"),
        ("[1, ]", "invalid-json", "f:1:5"),
        ("{,}", "invalid-json", "f:1:2"),
        ('{"a": 1,}', "invalid-json", "f:1:9"),
        ("[" * 40, "invalid-json", "f:1:33"),
        ("1" * 400, "invalid-json", "f:1:301"),
        ('"\n"', "invalid-json", "f:1:1"),
        ('"\\udc00"', "invalid-json", "f:1:1"),
        ("", "invalid-json", "f:1:1"),
        ("  \n ", "invalid-json", "f:2:2"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, code: str, place: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        load_json_tree(text.encode(), where="f")
    assert (caught.value.code, caught.value.where) == (code, place)
