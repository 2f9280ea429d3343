"""Who gets in: passwords, tokens, host names, pages of other sites."""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import bcrypt
import pytest

from provender.errors import InvalidProject
from provender.server.access import Access, Passwords
from provender.server.hosts import HostRule, is_loopback
from support.served import Client, digest_of, served

USER, PASSWORD = "ada", "correct horse"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Passwords:
    path = tmp_path_factory.mktemp("users") / "htpasswd"
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    path.write_text(f"# users\n\n{USER}:{hashed}\n")
    return Passwords.read(path)


@pytest.fixture(scope="module")
def basic(passwords: Passwords) -> Iterator[Client]:
    with served(None, access=Access(passwords, scheme="htpasswd")) as client:
        yield client


@pytest.fixture(scope="module")
def bearer(passwords: Passwords) -> Iterator[Client]:
    with served(None, access=Access(passwords, scheme="token", anonymous_pull=True)) as client:
        yield client


@pytest.mark.parametrize("header", [None, "Basic !!", "Basic YWRh", "Bearer x", "Basic " + "YWRhOng=", "x" * 5000])
def test_without_the_password_nothing_is_answered_but_the_health(basic: Client, header: str | None) -> None:
    for path in ("/v2/", "/v2/_catalog", "/v2/a/tags/list", "/v2/a/blobs/sha256:" + "0" * 64):
        answer = basic.ask("GET", path, authorization=header)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == 'Basic realm="provender"'
    assert basic.ask("GET", "/healthz").status == 200


def test_with_the_password_everything_is(basic: Client) -> None:
    client = Client(basic.host, authorization=BASIC)
    digest = client.blob("a", b"content")
    assert client.ask("GET", f"/v2/a/blobs/{digest}").body == b"content"
    assert client.ask("GET", "/v2/").status == 200


def test_everybody_may_read_where_that_was_said(passwords: Passwords) -> None:
    with served(None, access=Access(passwords, scheme="htpasswd", anonymous_pull=True)) as anonymous:
        digest = Client(anonymous.host, authorization=BASIC).blob("a", b"content")
        assert anonymous.ask("GET", f"/v2/a/blobs/{digest}").status == 200
        for method, path in (("POST", "/v2/a/blobs/uploads/"), ("DELETE", f"/v2/a/blobs/{digest}")):
            assert anonymous.ask(method, path).status == 401


def challenge(client: Client, method: str, path: str, **headers: str) -> dict[str, str]:
    answer = client.ask(method, path, **headers)
    assert answer.status == 401
    kind, _, rest = answer.headers["www-authenticate"].partition(" ")
    assert kind == "Bearer"
    return dict(re.findall(r'(\w+)="([^"]*)"', rest))


def token(client: Client, scope: str, authorization: str | None = BASIC) -> str:
    answer = client.ask("GET", f"/token?service=provender&scope={quote(scope)}", authorization=authorization)
    assert answer.status == 200, answer
    assert answer.json["expires_in"] >= 60
    return f"Bearer {answer.json['token']}"


def test_a_token_is_asked_for_and_given(bearer: Client) -> None:
    asked = challenge(bearer, "POST", "/v2/a/b/blobs/uploads/")
    assert asked["realm"] == f"http://{bearer.host}/token"
    assert asked["scope"] == "repository:a/b:pull,push"
    client = Client(bearer.host, authorization=token(bearer, asked["scope"]))
    digest = client.blob("a/b", b"content")
    assert bearer.ask("GET", f"/v2/a/b/blobs/{digest}").body == b"content"
    assert challenge(bearer, "GET", "/v2/")["service"] == "provender"


def test_a_token_is_good_for_its_scope_alone(bearer: Client) -> None:
    pull = Client(bearer.host, authorization=token(bearer, "repository:a/b:pull"))
    asked = challenge(pull, "POST", "/v2/a/b/blobs/uploads/")
    assert asked["error"] == "insufficient_scope"
    mount = f"/v2/a/b/blobs/uploads/?mount={digest_of(b'x')}&from=c/d"
    push = Client(bearer.host, authorization=token(bearer, "repository:a/b:pull,push"))
    assert challenge(push, "POST", mount)["scope"] == "repository:a/b:pull,push repository:c/d:pull"
    assert challenge(push, "DELETE", f"/v2/a/b/manifests/{digest_of(b'x')}")["error"] == "insufficient_scope"


@pytest.mark.parametrize("text", ["", "x", "x.y", "é", "a" * 3000, "e30.e30"])
def test_a_forged_token_is_refused(bearer: Client, text: str) -> None:
    header = f"Bearer {text}".encode().decode("latin-1")
    assert challenge(bearer, "POST", "/v2/a/blobs/uploads/", authorization=header)["error"] == "invalid_token"


def test_an_anonymous_token_only_reads(bearer: Client) -> None:
    anonymous = Client(bearer.host, authorization=token(bearer, "repository:a/b:pull,push", None))
    assert challenge(anonymous, "POST", "/v2/a/b/blobs/uploads/")["error"] == "insufficient_scope"
    wrong = "Basic " + base64.b64encode(b"ada:wrong").decode()
    assert bearer.ask("GET", "/token?scope=repository:a:pull", authorization=wrong).status == 401


def test_a_token_by_form(bearer: Client) -> None:
    form = f"grant_type=password&username={USER}&password={quote(PASSWORD)}&scope=repository:a:pull,push"
    answer = bearer.ask("POST", "/token", form.encode())
    Client(bearer.host, authorization=f"Bearer {answer.json['access_token']}").blob("a", b"content")
    assert bearer.ask("POST", "/token", b"grant_type=refresh_token").status == 405
    assert bearer.ask("POST", "/token", form.replace("correct", "wrong").encode()).status == 401


@pytest.mark.parametrize("line", ["ada:plain", "ada:$apr1$x$y", "ada", "", ":$2y$05$" + "a" * 53])
def test_a_file_without_safe_passwords_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "htpasswd").write_text(line + "\n")
    with pytest.raises(InvalidProject, match=r"bcrypt|no user"):
        Passwords.read(tmp_path / "htpasswd")


@pytest.mark.parametrize(
    "host", ["attacker.example", "attacker.example:5000", "127.0.0.1.attacker.example", "[::1", ""]
)
def test_another_host_name_is_refused_on_loopback(host: str) -> None:
    with served(None, hosts=HostRule(["here.test"])) as client:
        assert client.ask("GET", "/v2/", host=host).status == 403
        for good in ("localhost", "localhost:1", "127.0.0.1:80", "[::1]:80", "a.localhost", "here.test", "HERE.test:5"):
            assert client.ask("GET", "/v2/", host=good).status == 200


def test_pages_of_other_sites_do_not_write(tmp_path: Path) -> None:
    with served(tmp_path / "store", hosts=HostRule()) as client:
        path = f"/v2/a/blobs/uploads/?digest={digest_of(b'x')}"
        assert client.ask("POST", path, b"x", origin="https://attacker.example").status == 403
        assert client.ask("POST", path, b"x", origin="null").status == 403
        assert client.ask("POST", path, b"x", origin=f"http://{client.host}").status == 201


def test_a_request_without_host_is_answered() -> None:
    with served(None, hosts=HostRule()) as client:
        host, port = client.host.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert b" 200 " in connection.recv(100)


@pytest.mark.parametrize(("host", "expected"), [("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("", False)])
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
