"""Plain scalars as Go's YAML 1.1 reader (goyaml.v2) takes them: numbers, truth values, nothing or text. Pure."""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["as_text", "is_timestamp", "resolve"]

_TRUE: Final = frozenset(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE: Final = frozenset(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_NAN: Final = frozenset({".nan", ".NaN", ".NAN"})
_INFINITY: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
# Go's strconv.ParseInt with base 0: a prefix for the base; a leading 0 alone means octal.
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*|0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_POINT_FLOAT: Final = re.compile(r"\.[0-9]+(?:[eE][-+]?[0-9]+)?")
_DATE: Final = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:([Tt ])([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2})?)?"
)
_MAX_LENGTH: Final = 400  # far beyond any number; what is longer is text
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def resolve(text: str) -> object:
    """None, bool, int or float for a plain scalar that Go reads as one; else the text itself."""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text in _NULL:
        return None
    if text in _NAN:
        return math.nan
    if _INFINITY.fullmatch(text):
        return -math.inf if text[0] == "-" else math.inf
    if text[0] == ".":
        return float(text) if _POINT_FLOAT.fullmatch(text) and not math.isinf(float(text)) else text
    if not (text[0].isascii() and text[0].isdigit()) and text[0] not in ("+", "-"):
        return text
    return text if len(text) > _MAX_LENGTH or is_timestamp(text) else _number(text)


def as_text(value: object) -> str:
    """What a Go program finds in a text field where a scalar of another type is written: `1.10` becomes `1.1`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    return str(value)


def is_timestamp(text: str) -> bool:
    """True for a date, with or without a time, that exists."""
    found = _DATE.fullmatch(text)
    if found is None:
        return False
    year, month, day, separator, hour, minute, second, zone = found.groups()
    if separator is not None and (separator in "Tt") != (zone is not None):
        return False
    if not 1 <= int(month) <= 12 or not 1 <= int(day) <= _DAYS[int(month) - 1]:
        return False
    if (int(month), int(day)) == (2, 29) and (int(year) % 4 or (not int(year) % 100 and int(year) % 400)):
        return False
    return hour is None or (int(hour) < 24 and int(minute) < 60 and int(second) < 60)


def _number(text: str) -> object:
    plain = text.replace("_", "")
    if _INTEGER.fullmatch(plain):
        number = _integer(plain)
        # What fits neither of Go's 64-bit integers is a float.
        if -(1 << 63) <= number < (1 << 63 if plain[0] == "+" else 1 << 64):
            return number
    if _FLOAT.fullmatch(plain) and not math.isinf(float(plain)):
        return float(plain)
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-").lower()
    base = {"0x": 16, "0b": 2, "0o": 8}.get(digits[:2]) or (8 if digits[:1] == "0" else 10)
    number = int(digits[2:] if digits[1:2] in ("x", "b", "o") else digits, base)
    return -number if text[0] == "-" else number


def _float_text(value: float) -> str:
    """Go's `%g` with the least digits: an exponent from 21 digits on, and below 0.0001."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    if not exponent and abs(value) < 1e21:
        return text.removesuffix(".0")
    sign, digits = (exponent[0], exponent[1:]) if exponent[:1] in "+-" else ("+", exponent)
    return f"{mantissa.removesuffix('.0')}e{sign}{digits.zfill(2)}"
