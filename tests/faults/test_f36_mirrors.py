"""F36: a mirror that is down, slow, empty, busy, broken, wrong or closed to us; with sockets, and who saw which secret.

A wrong digest stops: design formats section 3 decides over the row of the matrix.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import Denied, IntegrityError, InvalidProject, NotFound, ProvenderError, Unauthorized, Unavailable
from provender.storage.verify import BytesReader
from support.content import blob
from support.mirrors import Mirrors, closed_port, secrets_in
from support.registry import Action, Corrupt, Reset, Stall, Status, TestRegistry, Truncate, digest_of

CONTENT = bytes(range(256)) * 400
# Short for a test, yet longer than a busy machine keeps a server that works from answering.
SILENCE_S = 1.5
FOREVER = 1000


@pytest.fixture
def home() -> Iterator[TestRegistry]:
    """The location, which has everything."""
    with TestRegistry() as registry:
        registry.push_artifact("tool", "1.0", [CONTENT])
        yield registry


@pytest.fixture
def mirror() -> Iterator[TestRegistry]:
    """A mirror, which has everything as well."""
    with TestRegistry() as registry:
        registry.push_artifact("m/tool", "1.0", [CONTENT])
        yield registry


def test_a_digest_comes_from_the_mirror_and_a_tag_from_the_location(
    tmp_path: Path, home: TestRegistry, mirror: TestRegistry
) -> None:
    with Mirrors(tmp_path, home.host, f"{mirror.host}/m") as mirrors:
        document = mirrors.open().storage.resolve("1.0")
        assert mirrors.read(CONTENT) == CONTENT
    assert document.digest == home.tags("tool")["1.0"]
    assert [request.path for request in home.requests] == ["/v2/tool/manifests/1.0"]
    assert [request.path for request in mirror.requests] == [f"/v2/m/tool/blobs/{digest_of(CONTENT)}"]


def test_a_mirror_that_is_trusted_with_tags_serves_everything(
    tmp_path: Path, home: TestRegistry, mirror: TestRegistry
) -> None:
    with Mirrors(tmp_path, home.host, (f"{mirror.host}/m", True)) as mirrors:
        mirrors.open().storage.resolve("1.0")
        assert list(mirrors.open().storage.tags()) == ["1.0"]
        assert mirrors.read(CONTENT) == CONTENT
    assert home.requests == []


def test_a_mirror_that_is_down_is_passed_over_and_told_once(tmp_path: Path, home: TestRegistry) -> None:
    with closed_port() as nobody, Mirrors(tmp_path, home.host, nobody) as mirrors:
        for _ in range(5):
            assert mirrors.read(CONTENT) == CONTENT
        assert mirrors.slept == [], "nobody waits for it while another source is there"
        assert len(mirrors.warnings) == 1
        assert f"{nobody}/tool is passed over" in mirrors.warnings[0]


def test_a_mirror_that_was_down_three_times_is_not_asked_again(
    tmp_path: Path, home: TestRegistry, mirror: TestRegistry
) -> None:
    mirror.fault(("GET", "/blobs/"), action=Reset(-1), times=FOREVER)
    with Mirrors(tmp_path, home.host, f"{mirror.host}/m") as mirrors:
        for _ in range(8):
            assert mirrors.read(CONTENT) == CONTENT
    assert 3 <= mirror.count("GET", "/blobs/") <= 6
    assert home.count("GET", "/blobs/") == 8


@pytest.mark.parametrize(
    "action",
    [
        Status(404),
        Status(429),
        Status(429, {"Retry-After": "3600"}),
        Status(500),
        Status(501),
        Status(502),
        Status(503, {"Retry-After": "3600"}),
        Status(200, {"Content-Type": "text/html"}, b"<html>please sign in</html>"),
        Reset(-1),
        Truncate(0),
        Stall(30),
    ],
    ids=str,
)
def test_no_usable_answer_leads_to_the_next_source(
    tmp_path: Path, home: TestRegistry, mirror: TestRegistry, action: Action
) -> None:
    mirror.fault(("GET", "/blobs/"), action=action, times=FOREVER)
    with Mirrors(tmp_path, home.host, f"{mirror.host}/m", read_timeout_s=SILENCE_S) as mirrors:
        assert mirrors.read(CONTENT) == CONTENT
        assert sum(mirrors.slept) <= 5
    assert home.count("GET", "/blobs/") == 1


@pytest.mark.parametrize("action", [Reset(30_000), Stall(30, after_bytes=30_000), Truncate(30_000)], ids=str)
def test_a_body_that_breaks_goes_on_at_the_same_byte_of_the_next_source(
    tmp_path: Path, home: TestRegistry, mirror: TestRegistry, action: Action
) -> None:
    mirror.fault(("GET", "/blobs/"), action=action)
    mirror.fault(("GET", "/blobs/"), action=Status(503), times=FOREVER)
    with Mirrors(tmp_path, home.host, f"{mirror.host}/m", read_timeout_s=SILENCE_S) as mirrors:
        assert mirrors.read(CONTENT) == CONTENT
    (request,) = home.asked("GET", "/blobs/")
    assert request.headers["range"].startswith("bytes=")
    assert request.headers["range"] != "bytes=0-"


def test_a_short_break_is_resumed_at_the_mirror_itself(
    tmp_path: Path, home: TestRegistry, mirror: TestRegistry
) -> None:
    mirror.fault(("GET", "/blobs/"), action=Reset(30_000))
    with Mirrors(tmp_path, home.host, f"{mirror.host}/m") as mirrors:
        assert mirrors.read(CONTENT) == CONTENT
    assert home.requests == []


@pytest.mark.parametrize("at", [0, 50_000, len(CONTENT) - 1])
def test_a_wrong_digest_stops_and_names_the_host(
    tmp_path: Path, home: TestRegistry, mirror: TestRegistry, at: int
) -> None:
    mirror.fault(("GET", "/blobs/"), action=Corrupt(at), times=FOREVER)
    with Mirrors(tmp_path, home.host, f"{mirror.host}/m") as mirrors, pytest.raises(IntegrityError) as caught:
        mirrors.read(CONTENT)
    assert (caught.value.code, caught.value.exit_status) == ("digest-mismatch", 65)
    assert mirror.host in f"{caught.value.message} {caught.value.where}"
    assert home.requests == []


def test_a_wrong_manifest_stops_and_names_the_host(tmp_path: Path, home: TestRegistry, mirror: TestRegistry) -> None:
    mirror.fault(("GET", "/manifests/"), action=Corrupt(10), times=FOREVER)
    with Mirrors(tmp_path, home.host, f"{mirror.host}/m") as mirrors, pytest.raises(ProvenderError) as caught:
        mirrors.open().storage.resolve(home.tags("tool")["1.0"])
    assert caught.value.exit_status == 65
    assert mirror.host in f"{caught.value.message} {caught.value.where}"
    assert home.requests == []


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Denied)])
def test_401_and_403_stop_and_name_the_host(
    tmp_path: Path, home: TestRegistry, mirror: TestRegistry, status: int, kind: type[ProvenderError]
) -> None:
    mirror.fault(("GET", ""), action=Status(status), times=FOREVER)
    with Mirrors(tmp_path, home.host, f"{mirror.host}/m") as mirrors, pytest.raises(kind) as caught:
        mirrors.read(CONTENT)
    assert mirror.host in caught.value.message
    assert home.requests == []


def test_without_fallback_the_location_is_never_asked(tmp_path: Path, home: TestRegistry, mirror: TestRegistry) -> None:
    with Mirrors(tmp_path, home.host, f"{mirror.host}/m", fallback="none") as mirrors:
        assert mirrors.read(CONTENT) == CONTENT
        with pytest.raises(NotFound):
            mirrors.read(b"only at home")
        with pytest.raises(InvalidProject) as caught:
            mirrors.open().storage.resolve("1.0")
    assert caught.value.code == "no-tag-source"
    assert home.requests == []


def test_the_last_source_is_waited_for(tmp_path: Path, home: TestRegistry, mirror: TestRegistry) -> None:
    mirror.fault(("GET", "/blobs/"), action=Status(503), times=2)
    with Mirrors(tmp_path, home.host, f"{mirror.host}/m", fallback="none") as mirrors:
        assert mirrors.read(CONTENT) == CONTENT
        assert len(mirrors.slept) >= 2


def test_when_everybody_is_down_the_error_names_everybody(tmp_path: Path) -> None:
    with (
        closed_port() as one,
        closed_port() as two,
        Mirrors(tmp_path, two, one) as mirrors,
        pytest.raises(Unavailable) as caught,
    ):
        mirrors.read(CONTENT)
    assert caught.value.retryable
    assert one in caught.value.message
    assert two in caught.value.message


def test_what_is_pushed_goes_to_the_location_alone(tmp_path: Path, home: TestRegistry, mirror: TestRegistry) -> None:
    with Mirrors(tmp_path, home.host, (f"{mirror.host}/m", True)) as mirrors:
        mirrors.open().writable.push(blob(b"new"), BytesReader(b"new"))
        mirrors.storages.open(mirrors.open().reference, create=True).writable.push(blob(b"2"), BytesReader(b"2"))
    assert mirror.requests == []
    assert home.blob("tool", digest_of(b"new")) == b"new"
    assert home.blob("tool", digest_of(b"2")) == b"2"


def ask_without_credentials(registry: TestRegistry) -> None:
    connection = http.client.HTTPConnection(registry.host, timeout=10)
    connection.request("GET", "/v2/")
    connection.getresponse().read()
    connection.close()


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize(
    "spoil",
    [
        None,
        Status(404),
        Status(503),
        Status(401, {"WWW-Authenticate": 'Basic realm="give me everything"'}),
        Reset(30_000),
        Corrupt(5),
    ],
    ids=str,
)
def test_credentials_of_one_host_never_reach_another(tmp_path: Path, auth: str, spoil: Action | None) -> None:
    kind = "basic" if auth == "basic" else "token"
    with (
        TestRegistry(auth=kind, username="home-user", password="home-s3cret", identity_token="home-id") as home,
        TestRegistry(auth=kind, username="mirror-user", password="mirror-s3cret", identity_token="m-id") as mirror,
        Mirrors(tmp_path, home.host, f"{mirror.host}/m") as mirrors,
    ):
        mirrors.know(home, mirror)
        home.push_artifact("tool", "1.0", [CONTENT])
        mirror.push_artifact("m/tool", "1.0", [CONTENT, b"small"])
        ask_without_credentials(mirror)  # so that its tokens have other names than those of the location
        assert mirrors.read(b"small") == b"small"
        mirrors.open().storage.resolve("1.0")
        if spoil is not None:
            mirror.fault(("GET", "/blobs/"), action=spoil, times=FOREVER)
        try:
            mirrors.read(CONTENT)
        except (Unauthorized, IntegrityError):
            assert spoil is not None
        assert any("authorization" in request.headers for request in home.requests)
        assert any("authorization" in request.headers for request in mirror.requests)
        assert secrets_in(home, [mirror]) == []
        assert secrets_in(mirror, [home]) == []
        tokens = {request.headers.get("authorization", "") for request in home.requests} - {""}
        assert not tokens & {request.headers.get("authorization", "") for request in mirror.requests}


def test_a_mirror_without_credentials_of_its_own_gets_none(tmp_path: Path) -> None:
    with (
        TestRegistry(auth="basic") as home,
        TestRegistry(auth="basic", password="other-s3cret") as mirror,
        Mirrors(tmp_path, home.host, f"{mirror.host}/m") as mirrors,
    ):
        mirrors.know(home)
        home.push_artifact("tool", "1.0", [CONTENT])
        with pytest.raises(Unauthorized) as caught:
            mirrors.read(CONTENT)
        assert f"provender login {mirror.host}" in (caught.value.hint or "")
        assert not any("authorization" in request.headers for request in mirror.requests)


def test_mirrors_of_a_host_are_told_which_one_they_stand_in_for(
    tmp_path: Path, home: TestRegistry, mirror: TestRegistry
) -> None:
    conf = tmp_path / "etc" / "containers" / "registries.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(
        f'[[registry]]\nprefix = "src.example/team"\nlocation = "{home.host}"\n'
        f'[[registry.mirror]]\nlocation = "{mirror.host}/m"\n'
    )
    with Mirrors(tmp_path, home.host) as mirrors:
        storage = mirrors.open("src.example/team/tool").storage
        document = storage.resolve("1.0")
        storage.resolve(document.digest)
        assert mirrors.read(CONTENT, "src.example/team/tool") == CONTENT
        assert home.requests == []
        assert mirror.count() == 3
        assert {request.value("ns") for request in mirror.requests} == {"src.example"}
        mirror.fault(("GET", ""), action=Status(404), times=FOREVER)
        assert mirrors.read(CONTENT, "src.example/team/tool") == CONTENT
    assert [request.value("ns") for request in home.requests] == [None]


def test_mirrors_of_containerd_are_used_in_their_order(
    tmp_path: Path, home: TestRegistry, mirror: TestRegistry
) -> None:
    hosts = tmp_path / "etc" / "containerd" / "certs.d" / "src.example" / "hosts.toml"
    hosts.parent.mkdir(parents=True)
    with closed_port() as nobody:
        hosts.write_text(
            f'server = "http://{home.host}"\n[host."http://{nobody}"]\n'
            f'[host."http://{mirror.host}/v2/m"]\noverride_path = true\ncapabilities = ["pull"]\n'
        )
        with Mirrors(tmp_path, home.host) as mirrors:
            mirrors.open("src.example/tool").storage.resolve("1.0")
            assert mirrors.read(CONTENT, "src.example/tool") == CONTENT
    assert [request.path for request in home.requests] == ["/v2/tool/manifests/1.0"]
    assert mirror.asked("GET", "/v2/m/tool/blobs/.*ns=src.example")
