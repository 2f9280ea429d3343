"""Platform: parsing, normalisation and matching."""

from __future__ import annotations

import pytest

from provender.errors import InvalidReference
from provender.oci import Platform


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/armhf", "linux/arm"),
        ("linux/arm/v7", "linux/arm"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("macos/arm64", "darwin/arm64"),
        ("windows/amd64:10.0.20348.1", "windows/amd64:10.0.20348.1"),
        ("wasip1/wasm", "wasip1/wasm"),
    ],
)
def test_names_are_normalised(text: str, normal: str) -> None:
    assert str(Platform.parse(text)) == normal


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64", "linux/" + "a" * 65])
def test_text_that_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference, match="not a platform"):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("content", "wanted", "matches"),
    [
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/aarch64", True),
        ("linux/amd64", "linux/arm64", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm/v7", "linux/arm", True),
        ("windows/amd64:10.0.20348.1", "windows/amd64:10.0.20348", True),
        ("windows/amd64:10.0.17763", "windows/amd64:10.0.20348", False),
        ("windows/amd64:10.0.17763", "windows/amd64", True),
    ],
)
def test_matching(content: str, wanted: str, matches: bool) -> None:
    assert Platform.parse(content).matches(Platform.parse(wanted)) is matches


def test_the_platform_of_attestations_is_known() -> None:
    assert Platform(os="unknown", architecture="unknown").is_unknown
    assert not Platform(os="linux", architecture="amd64").is_unknown
