from __future__ import annotations

import pytest

from provender.storage.registry.headers import (
    ContentRange,
    next_link,
    parse_content_range,
    parse_warnings,
    whole_number,
)


@pytest.mark.parametrize(
    "header",
    [
        '</v2/a?last=b&n=2>; rel="next"',
        "</v2/a?last=b&n=2>; rel=next",
        '</x>; rel="prev", </v2/a?last=b&n=2>; title="a, b"; rel="last next"',
    ],
)
def test_the_next_link_is_found(header: str) -> None:
    assert next_link(header) == "/v2/a?last=b&n=2"


@pytest.mark.parametrize("header", ["", "</x>", '</x>; rel="prev"', "nonsense", "<" * 16_000, '</x>; xrel="next"'])
def test_other_links_are_not(header: str) -> None:
    assert next_link(header) is None


def test_only_warnings_with_code_299_are_read() -> None:
    header = '299 - "say \\"hi\\"", 110 cache "stale", 299 - "more, of it"'
    assert parse_warnings(header) == ['say "hi"', "more, of it"]


def test_numbers_have_plain_digits_and_an_end() -> None:
    assert whole_number(" 120 ") == 120
    # The second is a digit to `isdigit` and none to `int`; it is what the byte B2 of a header is read as.
    for text in ("", "²", "1²", "-1", "+1", "1.5", "0x1", "1 2", "9" * 19):
        assert whole_number(text) is None


def test_content_ranges() -> None:
    assert parse_content_range("bytes 5-9/10") == ContentRange(5, 9, 10)
    assert parse_content_range("bytes 5-9/*") == ContentRange(5, 9, None)
    for text in ("", "bytes 9-5/10", "bytes 5-10/10", "bytes */10", "5-9/10", "bytes -1-4/10"):
        assert parse_content_range(text) is None
