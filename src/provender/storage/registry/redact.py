"""Text that may be shown: requests without secrets, and foreign text without control characters. Pure.

Registry layer; used by the transport's debug lines and by every error message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

__all__ = ["header_lines", "printable", "shown_url"]

_HIDDEN: Final = "***"
_SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_URL_HEADERS: Final = frozenset({"location", "link", "content-location", "referer"})
# Parameters of pre-signed URLs (S3, GCS, Azure, CloudFront), tokens, and distribution's upload state.
_HIDDEN_PARAMETER: Final = (
    r"(?i:x-(?:amz|goog|ms)-.*|sig|signature|se|sp|sv|skoid|policy|key-pair-id|.*token.*|.*secret.*|.*password.*|"
    r"_state|googleaccessid|awsaccesskeyid|expires|verify|hash|code)"
)


def shown_url(url: str) -> str:
    """`url` without user information and without the values of secret parameters; control characters removed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return _HIDDEN
    netloc = parts.netloc.rpartition("@")[2]
    if netloc != parts.netloc:
        netloc = f"{_HIDDEN}@{netloc}"
    query = parts.query
    if query:
        pairs = parse_qsl(query, keep_blank_values=True, separator="&")
        query = "&".join(
            f"{name}={_HIDDEN if re.fullmatch(_HIDDEN_PARAMETER, name) else quote(value, safe=':/,@*')}"
            for name, value in pairs
        )
    return printable(urlunsplit((parts.scheme, netloc, parts.path, query, "")), 2000)


def header_lines(headers: Mapping[str, str]) -> list[str]:
    """`Name: value` lines with secrets replaced."""
    return [f"{name}: {_shown_value(name.lower(), value)}" for name, value in headers.items()]


def printable(text: str, limit: int = 300) -> str:
    """Foreign text in one line for people: no control, formatting or escape characters, at most `limit` long."""
    cleaned = "".join(char if char.isprintable() else " " for char in text[: 4 * limit])
    cleaned = " ".join(cleaned.split())
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def _shown_value(name: str, value: str) -> str:
    if name in _SECRET_HEADERS:
        return f"{value.partition(' ')[0]} {_HIDDEN}" if " " in value and "authorization" in name else _HIDDEN
    if name == "link":
        return re.sub(r"<([^>]*)>", lambda match: f"<{shown_url(match[1])}>", printable(value, 2000))
    if name in _URL_HEADERS:
        return shown_url(value)
    return printable(value, 2000)
