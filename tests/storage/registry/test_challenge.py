from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.storage.registry.challenge import Challenge, parse_challenges


def test_reads_quoted_values_with_commas() -> None:
    header = 'Bearer realm="https://auth.example/token",service="a, b",scope="repository:a/b:pull,push"'
    assert parse_challenges(header) == [
        Challenge(
            "bearer",
            {"realm": "https://auth.example/token", "service": "a, b", "scope": "repository:a/b:pull,push"},
        )
    ]


def test_reads_several_challenges_in_one_header() -> None:
    found = parse_challenges(
        'Basic realm="x, y", Negotiate, Bearer realm=https://a/t , service=s, NTLM abc==, Digest a=b'
    )
    assert [item.scheme for item in found] == ["basic", "negotiate", "bearer", "ntlm", "digest"]
    assert found[0].parameters == {"realm": "x, y"}
    assert found[2].parameters == {"realm": "https://a/t", "service": "s"}


def test_unescapes_quoted_characters() -> None:
    assert parse_challenges(r'Basic realm="a \"quoted\" word"')[0].parameters == {"realm": 'a "quoted" word'}


def test_names_are_case_insensitive_and_the_first_of_two_counts() -> None:
    assert parse_challenges('BEARER Realm="a", realm="b"') == [Challenge("bearer", {"realm": "a"})]


@pytest.mark.parametrize("header", ["", " , ,", '"x"', "=", 'Bearer realm="unclosed', "x" * 20_000])
def test_unreadable_headers_give_no_parameters(header: str) -> None:
    assert all(not item.parameters for item in parse_challenges(header))


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(header: str) -> None:
    parse_challenges(header)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_quoted_value_survives(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_challenges(f'Bearer realm="{quoted}", service="s"')[0].parameters == {"realm": value, "service": "s"}
