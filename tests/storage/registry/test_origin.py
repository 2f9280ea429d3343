from __future__ import annotations

import pytest

from provender.errors import Denied, Unavailable
from provender.storage.registry.origin import Origin, followed, is_local

PUBLIC = Origin.of("https://registry.example/")
LOCAL = Origin.of("http://127.0.0.1:5000/")


def test_an_origin_is_scheme_host_and_port() -> None:
    assert Origin.of("https://Example.COM./a") == Origin.of("https://example.com:443/b")
    assert Origin.of("http://example.com") != Origin.of("https://example.com")
    assert Origin.of("https://example.com") != Origin.of("https://example.com:5000")


@pytest.mark.parametrize("url", ["ftp://a/", "file:///etc/passwd", "/x", "https://", "http://[::1", "http://a:99999/"])
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(Unavailable):
        Origin.of(url)


@pytest.mark.parametrize(
    "target",
    [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://localhost./",
        "https://a.localhost/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://0.0.0.0/",
        "https://[::]/",
        "https://169.254.1.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://metadata.google.internal/",
    ],
)
def test_a_public_registry_leads_to_no_local_address(target: str) -> None:
    with pytest.raises(Denied) as caught:
        followed("https://registry.example/v2/", target, PUBLIC, "the redirect")
    assert caught.value.code == "unsafe-target"


@pytest.mark.parametrize("target", ["https://10.0.0.5/", "https://192.168.1.1:8443/", "https://storage.example/x?y=z"])
def test_private_networks_and_other_hosts_are_followed(target: str) -> None:
    assert followed("https://registry.example/v2/", target, PUBLIC, "the redirect") == target


def test_nothing_leads_from_https_to_http() -> None:
    with pytest.raises(Denied) as caught:
        followed("https://registry.example/v2/", "http://registry.example/x", PUBLIC, "the token realm")
    assert caught.value.code == "insecure-redirect"


def test_a_second_hop_may_not_downgrade_either() -> None:
    with pytest.raises(Denied):
        followed("https://cdn.example/a", "http://cdn.example/b", LOCAL, "the redirect")


def test_a_registry_on_this_machine_may_lead_to_this_machine_but_not_to_metadata() -> None:
    assert followed("http://127.0.0.1:5000/", "http://localhost:5001/", LOCAL, "the redirect")
    for target in ("http://169.254.169.254/", "http://169.254.7.7/"):
        with pytest.raises(Denied):
            followed("http://127.0.0.1:5000/", target, LOCAL, "the redirect")


def test_user_information_is_refused_and_not_shown() -> None:
    with pytest.raises(Denied) as caught:
        followed("https://registry.example/", "https://me:hunter2@other.example/", PUBLIC, "the redirect")
    assert "hunter2" not in caught.value.message


def test_relative_targets_are_resolved() -> None:
    assert followed("https://registry.example/v2/a?x=1", "../b?q=1", PUBLIC, "x") == "https://registry.example/b?q=1"


def test_this_machine_is_known_by_its_names() -> None:
    assert is_local("localhost")
    assert is_local("127.9.9.9")
    assert is_local("::1")
    assert not is_local("10.0.0.1")
    assert not is_local("localhost.example.com")


@pytest.mark.parametrize("target", ["https://registry.example/up?a=1#part", "/up?a=1#part", "#part"])
def test_a_fragment_is_left_out(target: str) -> None:
    # What is appended behind it (`digest=`, `scope=`) would never be sent.
    assert followed("https://registry.example/up?a=1", target, PUBLIC, "x") == "https://registry.example/up?a=1"
