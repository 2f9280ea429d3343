"""YAML as Go writes it: the expected bytes were made with sigs.k8s.io/yaml 1.4.0."""

from __future__ import annotations

import pytest

from provender.settings.go_scalar import as_text, resolve
from provender.settings.go_yaml import dump


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("1.0", '"1.0"'),
        ("1.2.3", "1.2.3"),
        ("0x1F", '"0x1F"'),
        ("010", '"010"'),
        ("08", '"08"'),
        ("1_000", '"1_000"'),
        ("1e3", '"1e3"'),
        (".5", '".5"'),
        ("2020-01-02", '"2020-01-02"'),
        ("2020-02-30", "2020-02-30"),
        ("12:30:45", '"12:30:45"'),
        ("yes", '"yes"'),
        ("y", '"y"'),
        ("On", '"On"'),
        ("null", '"null"'),
        ("", '""'),
        ("~", '"~"'),
        ("<<", "<<"),
        ("a: b", "'a: b'"),
        ("a:", "'a:'"),
        ("- a", "'- a'"),
        ("-a", "-a"),
        ("a #b", "'a #b'"),
        ("#a", "'#a'"),
        ("it's", "it's"),
        ("'a'", "'''a'''"),
        ('"a"', "'\"a\"'"),
        (" a", "' a'"),
        ("a\tb", '"a\\tb"'),
        ("é", "é"),
        ("😀", '"\\U0001F600"'),
        ("@a", "'@a'"),
        ("---", "'---'"),
        (True, "true"),
        (448, "448"),
        (None, "null"),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_scalars_are_quoted_as_go_quotes_them(value: object, expected: str) -> None:
    assert dump({"k": value}) == f"k: {expected}\n"


def test_lists_are_not_indented_below_their_key() -> None:
    value = {"b": [{"x": 1, "a": ["p", ["q"]]}], "a": {"c": []}}
    assert dump(value) == "a:\n  c: []\nb:\n- a:\n  - p\n  - - q\n  x: 1\n"


def test_text_of_several_lines_is_a_block() -> None:
    assert dump({"a": "one\ntwo\n", "b": ["x\ny"], "c": "\n\nz", "d": "e\n\n"}) == (
        "a: |\n  one\n  two\nb:\n- |-\n  x\n  y\nc: |2-\n\n\n  z\nd: |+\n  e\n\n"
    )


def test_long_lines_are_folded() -> None:
    text = "word " * 20 + "end"
    assert dump({"title": text}) == f"title: {'word ' * 14}word\n  {'word ' * 5}end\n"
    quoted = "a: " + "b " * 45 + "c"
    assert dump({"k": quoted}) == f"k: 'a: {'b ' * 37}b\n  {'b ' * 7}c'\n"


def test_keys_are_in_natural_order() -> None:
    keys = ["a10", "a2", "B", "a_1", "a1", "Z", "b"]
    assert list(dump(dict.fromkeys(keys, 1)).split()[::2]) == ["B:", "Z:", "a_1:", "a1:", "a2:", "a10:", "b:"]


@pytest.mark.parametrize(
    ("text", "found"), [("1.10", "1.1"), ("010", "8"), ("0x10", "16"), ("on", "true"), ("~", ""), ("1e21", "1e+21")]
)
def test_a_number_in_a_text_field_is_what_go_makes_of_it(text: str, found: str) -> None:
    assert as_text(resolve(text)) == found
