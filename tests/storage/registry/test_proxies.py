from __future__ import annotations

import pytest

from provender.storage.registry.proxies import proxy_for

PROXY = {"HTTPS_PROXY": "http://proxy:3128", "HTTP_PROXY": "proxy-for-http:80"}


def test_the_scheme_decides_which_variable_counts() -> None:
    assert proxy_for("https://registry.example/", PROXY) == "http://proxy:3128"
    assert proxy_for("http://registry.example/", PROXY) == "http://proxy-for-http:80"
    assert proxy_for("https://registry.example/", {}) is None
    assert proxy_for("https://registry.example/", {"ALL_PROXY": "http://all:1"}) == "http://all:1"


def test_lower_case_wins() -> None:
    assert proxy_for("https://a.example/", {**PROXY, "https_proxy": "http://lower:1"}) == "http://lower:1"


def test_this_machine_is_reached_directly_unless_asked() -> None:
    assert proxy_for("https://127.0.0.1:5000/", PROXY) is None
    assert proxy_for("https://localhost/", PROXY) is None
    assert proxy_for("https://localhost/", PROXY, local=True) == "http://proxy:3128"


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*", "https://a.example/"),
        ("a.example", "https://a.example/"),
        ("example", "https://a.example/"),
        (".example", "https://a.example/"),
        ("*.example", "https://a.example/"),
        ("x, A.Example", "https://a.example/"),
        ("a.example:5000", "https://a.example:5000/"),
        ("10.0.0.0/8", "https://10.1.2.3/"),
        ("10.1.2.3", "https://10.1.2.3:5000/"),
        ("fd00::/8", "https://[fd00::1]/"),
        ("[fd00::1]:443", "https://[fd00::1]/"),
    ],
)
def test_no_proxy_excludes(no_proxy: str, url: str) -> None:
    assert proxy_for(url, {**PROXY, "NO_PROXY": no_proxy}) is None


@pytest.mark.parametrize(
    "no_proxy", ["", "b.example", "ample", "a.example:5000", "10.0.0.0/8", "nonsense/99", ".", "a.example:²"]
)
def test_no_proxy_excludes_nothing_else(no_proxy: str) -> None:
    assert proxy_for("https://a.example/", {**PROXY, "NO_PROXY": no_proxy}) == "http://proxy:3128"


def test_a_cgi_client_cannot_name_the_proxy() -> None:
    assert proxy_for("http://a.example/", {"HTTP_PROXY": "http://evil:1", "REQUEST_METHOD": "GET"}) is None
