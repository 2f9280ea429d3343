from __future__ import annotations

from provender.storage.registry.redact import header_lines, printable, shown_url


def test_urls_lose_user_information_and_secret_parameters() -> None:
    shown = shown_url(
        "https://me:hunter2@s3.example/b?X-Amz-Signature=abc&X-Amz-Credential=k&sig=s&_state=t&token=u&digest=sha256:1"
    )
    assert shown == (
        "https://***@s3.example/b?X-Amz-Signature=***&X-Amz-Credential=***&sig=***&_state=***&token=***&digest=sha256:1"
    )


def test_headers_lose_secrets() -> None:
    lines = header_lines(
        {
            "Authorization": "Bearer abc",
            "cookie": "session=abc",
            "location": "/u?_state=abc",
            "link": '</v2/x?last=a&token=abc>; rel="next"',
            "x-plain": "kept",
        }
    )
    assert "abc" not in "\n".join(lines)
    assert lines[0] == "Authorization: Bearer ***"
    assert lines[-1] == "x-plain: kept"


def test_foreign_text_loses_control_characters() -> None:
    assert printable("a\x1b[31mred\x07\n\u202eb\u200bc\x9b") == "a [31mred b c"
    assert len(printable("x" * 1000, 80)) == 80
