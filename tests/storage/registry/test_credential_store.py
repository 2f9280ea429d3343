from __future__ import annotations

import base64
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from provender.errors import InvalidProject
from provender.storage.registry import Credential, CredentialStore

HUB = "https://index.docker.io/v1/"


def pair(username: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


class Place:
    """A home directory with the files of Docker and of containers tools."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bin = path / "bin"
        self.bin.mkdir()
        # The interpreter's folder is for the helpers' first line.
        self.environ = {"HOME": str(path), "PATH": f"{self.bin}{os.pathsep}{Path(sys.executable).parent}"}

    @property
    def config(self) -> Path:
        return self.path / ".docker" / "config.json"

    def docker(self, **fields: object) -> None:
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_text(json.dumps(fields))

    def containers(self, **fields: object) -> None:
        path = self.path / ".config" / "containers" / "auth.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(fields))

    def helper(self, suffix: str, body: str) -> Path:
        """A helper in Python; its calls are noted in a file beside it."""
        path = self.bin / f"docker-credential-{suffix}"
        path.write_text(
            f"#!{sys.executable}\nimport json, sys\naction, text = sys.argv[1], sys.stdin.read()\n"
            f"open({str(path)!r} + '.log', 'a').write(action + ' ' + text.strip() + '\\n')\n{body}\n"
        )
        path.chmod(0o755)
        return path

    def calls(self, suffix: str) -> list[str]:
        log = self.bin / f"docker-credential-{suffix}.log"
        return log.read_text().splitlines() if log.exists() else []

    def store(self) -> CredentialStore:
        return CredentialStore(self.environ)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def found(credential: Credential | None) -> tuple[str, str] | None:
    return None if credential is None else (credential.username, credential.secret)


def test_nothing_configured_gives_nothing(place: Place) -> None:
    assert place.store().lookup("registry.example") is None


@pytest.mark.parametrize(
    "key",
    [
        "registry.example:5000",
        "https://registry.example:5000",
        "https://registry.example:5000/v1/",
        "https://registry.example:5000/v2/",
        "registry.example:5000/v2/",
    ],
)
def test_docker_keys_are_read_in_all_their_spellings(place: Place, key: str) -> None:
    place.docker(auths={key: pair("me", "pass:word")})
    assert found(place.store().lookup("registry.example:5000", "a/b")) == ("me", "pass:word")
    assert place.store().lookup("registry.example") is None
    assert place.store().lookup("registry.example:5001") is None


def test_the_source_is_told_and_the_secret_is_not(place: Place) -> None:
    place.docker(auths={"registry.example": pair("me", "hunter2")})
    credential = place.store().lookup("registry.example")
    assert credential is not None
    assert credential.source == f"{place.config} (registry.example)"
    assert "hunter2" not in repr(credential)


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
@pytest.mark.parametrize("key", [HUB, "docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_is_known_by_all_its_names(place: Place, host: str, key: str) -> None:
    place.docker(auths={key: pair("me", "x")})
    assert found(place.store().lookup(host, "library/alpine")) == ("me", "x")


def test_entries_may_hold_plain_fields_and_tokens(place: Place) -> None:
    place.docker(
        auths={
            "a.example": {"username": "me", "password": "x"},
            "b.example": {**pair("me", ""), "identitytoken": "id"},
            "c.example": {"registrytoken": "reg"},
            "d.example": {},
            "e.example": {"auth": base64.b64encode(b"me:x\0\0").decode()},
        }
    )
    store = place.store()
    assert found(store.lookup("a.example")) == ("me", "x")
    assert (store.lookup("b.example") or Credential()).identity_token == "id"
    assert (store.lookup("c.example") or Credential()).registry_token == "reg"
    assert store.lookup("d.example") is None
    assert found(store.lookup("e.example")) == ("me", "x")


def test_the_most_specific_namespace_wins(place: Place) -> None:
    place.containers(
        auths={
            "reg.example": pair("host", "1"),
            "reg.example/team": pair("team", "2"),
            "reg.example/team/app": pair("app", "3"),
        }
    )
    store = place.store()
    assert found(store.lookup("reg.example", "team/app")) == ("app", "3")
    assert found(store.lookup("reg.example", "team/app/sub")) == ("app", "3")
    assert found(store.lookup("reg.example", "team/other")) == ("team", "2")
    assert found(store.lookup("reg.example", "teammate")) == ("host", "1")
    assert found(store.lookup("reg.example")) == ("host", "1")


def test_the_dockercfg_of_old_is_read_last(place: Place) -> None:
    home = Path(place.environ["HOME"])
    home.mkdir(exist_ok=True)
    (home / ".dockercfg").write_text(
        json.dumps({"https://registry.example/v1/": {**pair("old", "x"), "email": "a@b.example"}})
    )
    credential = place.store().lookup("registry.example", "a/b")
    assert found(credential) == ("old", "x")
    assert credential is not None
    assert credential.source.startswith(str(home / ".dockercfg"))
    place.containers(auths={"registry.example": pair("containers", "x")})
    assert found(place.store().lookup("registry.example")) == ("containers", "x")


def test_a_namespace_serves_no_other_repository(place: Place) -> None:
    place.containers(auths={"reg.example/team": pair("team", "2")})
    assert place.store().lookup("reg.example", "other/app") is None
    assert place.store().lookup("reg.example") is None


def test_places_are_asked_in_order(place: Place, tmp_path: Path) -> None:
    explicit, named = tmp_path / "explicit.json", tmp_path / "named.json"
    place.containers(auths={"r.example": pair("containers", "x"), "only.example": pair("last", "x")})
    assert found(place.store().lookup("r.example")) == ("containers", "x")
    place.docker(auths={"r.example": pair("docker", "x")})
    assert found(place.store().lookup("r.example")) == ("docker", "x")
    place.environ["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"r.example": pair("inline", "x")}})
    assert found(place.store().lookup("r.example")) == ("inline", "x")
    named.write_text(json.dumps({"auths": {"r.example": pair("named", "x")}}))
    place.environ["REGISTRY_AUTH_FILE"] = str(named)
    assert found(place.store().lookup("r.example")) == ("named", "x")
    explicit.write_text(json.dumps({"auths": {"r.example": pair("explicit", "x")}}))
    assert found(CredentialStore(place.environ, authfile=str(explicit)).lookup("r.example")) == ("explicit", "x")
    assert found(place.store().lookup("only.example")) == ("last", "x")


def test_docker_config_names_the_directory(place: Place, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"auths": {"r.example": pair("other", "x")}}))
    place.docker(auths={"r.example": pair("home", "x")})
    place.environ["DOCKER_CONFIG"] = str(other)
    assert found(place.store().lookup("r.example")) == ("other", "x")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"auths": []}',
        '{"auths": {"r.example": 7}}',
        '{"auths": {"r.example": {"auth": "%%%"}}}',
        '{"auths": {"r.example": {"auth": "eA=="}}}',
        '{"credsStore": 7}',
        "[" * 100_000,
    ],
)
def test_a_corrupt_file_is_named_with_the_way_out(place: Place, text: str) -> None:
    place.docker()
    place.config.write_text(text)
    with pytest.raises(InvalidProject) as caught:
        place.store().lookup("r.example")
    assert caught.value.where == str(place.config)
    assert caught.value.code == "invalid-credentials-file"
    assert "provender login" in str(caught.value.hint)


def test_an_empty_file_is_no_error(place: Place) -> None:
    place.docker()
    place.config.write_text("")
    assert place.store().lookup("r.example") is None


GIVES = "print(json.dumps({'ServerURL': text, 'Username': 'helped', 'Secret': 'x-' + text.strip()}))"
HAS_NONE = "print('credentials not found in native keychain'); sys.exit(1)"


def test_helpers_are_asked_in_their_order(place: Place) -> None:
    place.helper("one", GIVES)
    place.helper("all", GIVES)
    place.docker(
        credHelpers={"one.example": "one"},
        credsStore="all",
        auths={"one.example": pair("file", "x"), "r.example": {}},
    )
    store = place.store()
    assert found(store.lookup("one.example", "a/b")) == ("helped", "x-one.example")
    assert found(store.lookup("r.example")) == ("helped", "x-r.example")
    assert found(store.lookup("docker.io")) == ("helped", f"x-{HUB}")
    credential = store.lookup("r.example")
    assert credential is not None
    assert credential.source == "the credential helper docker-credential-all"
    assert place.calls("one") == ["get one.example"]
    assert place.calls("all") == ["get r.example", f"get {HUB}"]


def test_a_helper_without_a_credential_is_no_error(place: Place) -> None:
    place.helper("none", HAS_NONE)
    place.docker(credsStore="none", auths={"r.example": pair("file", "x")})
    assert place.store().lookup("other.example") is None
    assert found(place.store().lookup("r.example")) == ("file", "x")


def test_a_helper_may_hold_an_identity_token(place: Place) -> None:
    place.helper("id", "print(json.dumps({'Username': '<token>', 'Secret': 'id-token'}))")
    place.docker(credsStore="id")
    assert (place.store().lookup("r.example") or Credential()).identity_token == "id-token"


@pytest.mark.parametrize(
    "body",
    ["print('boom'); sys.exit(3)", "print('not json')", "print('[]')", "print(json.dumps({'Username': 'x'}))"],
)
def test_a_failing_helper_is_an_error_that_shows_no_output(place: Place, body: str) -> None:
    place.helper("bad", body)
    place.docker(credsStore="bad")
    with pytest.raises(InvalidProject) as caught:
        place.store().lookup("r.example")
    assert caught.value.code == "credential-helper-failed"
    assert caught.value.where == str(place.config)
    assert "boom" not in caught.value.message


def test_a_helper_that_prints_without_end_is_stopped(place: Place) -> None:
    # Bounded, so that a test that fails ends: what it could print is thousands of times what is read.
    log = place.helper(
        "flood", "for _ in range(4096): sys.stdout.buffer.write(bytes(65536))\nopen(sys.argv[0] + '.done', 'w')"
    )
    place.docker(credsStore="flood")
    with pytest.raises(InvalidProject) as caught:
        place.store().lookup("r.example")
    assert caught.value.code == "credential-helper-failed"
    assert not Path(f"{log}.done").exists()


@pytest.mark.parametrize("content", ["#!/nonexistent/interpreter\n", "\x7fELF and no more"])
def test_a_helper_that_cannot_be_started_is_named(place: Place, content: str) -> None:
    place.helper("bad", "").write_text(content)
    place.docker(credsStore="bad")
    with pytest.raises(InvalidProject) as caught:
        place.store().lookup("r.example")
    assert (caught.value.code, caught.value.where) == ("credential-helper-failed", str(place.config))


def test_half_a_character_is_no_credential(place: Place) -> None:
    place.helper("half", "print(json.dumps({'Username': 'u', 'Secret': chr(0xd800)}))")
    place.docker(credHelpers={"r.example": "half"}, auths={"s.example": {"username": "u", "password": "\ud800"}})
    for host, code in (("r.example", "credential-helper-failed"), ("s.example", "invalid-credentials-file")):
        with pytest.raises(InvalidProject) as caught:
            place.store().lookup(host)
        assert caught.value.code == code


def test_a_missing_helper_is_named(place: Place) -> None:
    place.docker(credHelpers={"r.example": "absent"})
    with pytest.raises(InvalidProject) as caught:
        place.store().lookup("r.example")
    assert caught.value.code == "credential-helper-missing"
    assert "docker-credential-absent" in caught.value.message
    assert place.store().lookup("other.example") is None


@pytest.mark.parametrize("suffix", ["../x", "a b", "x;id", "a/b", "x" * 65, "$(id)"])
def test_the_name_of_a_helper_is_checked(place: Place, suffix: str) -> None:
    place.docker(credsStore=suffix)
    with pytest.raises(InvalidProject) as caught:
        place.store().lookup("r.example")
    assert caught.value.code == "invalid-credential-helper"


def test_a_helper_that_hangs_is_stopped(place: Place) -> None:
    from provender.errors import Unavailable
    from provender.storage.registry.credential_helper import CredentialHelper

    place.helper("slow", "import time; time.sleep(60)")
    with pytest.raises(Unavailable) as caught:
        CredentialHelper("slow", place.environ, where="x", timeout_s=0.5).get("r.example")
    assert caught.value.code == "credential-helper-timeout"


def test_login_keeps_everything_else_and_is_private(place: Place) -> None:
    before = {"HttpHeaders": {"X": "ü"}, "auths": {"other.example": pair("a", "b")}, "psFormat": "table"}
    place.docker(**before)
    store = place.store()
    assert store.lookup("r.example") is None
    assert store.login("r.example", "me", "s:ecret") == str(place.config)
    assert found(store.lookup("r.example")) == ("me", "s:ecret")
    after = json.loads(place.config.read_text())
    assert after.pop("auths") == {"other.example": pair("a", "b"), "r.example": pair("me", "s:ecret")}
    assert after == {"HttpHeaders": {"X": "ü"}, "psFormat": "table"}
    assert list(json.loads(place.config.read_text())) == list(before)
    assert stat.S_IMODE(place.config.stat().st_mode) == 0o600
    assert [path.name for path in place.config.parent.iterdir()] == ["config.json"]


def test_login_makes_the_file_and_logout_empties_it(place: Place) -> None:
    store = place.store()
    store.login("docker.io", "me", "x")
    assert list(json.loads(place.config.read_text())["auths"]) == [HUB]
    assert found(store.lookup("docker.io")) == ("me", "x")
    assert store.logout("docker.io")
    assert store.lookup("docker.io") is None
    assert not store.logout("docker.io")


def test_logout_removes_every_spelling_but_no_namespace(place: Place) -> None:
    place.docker(
        auths={
            "https://r.example/v1/": pair("a", "b"),
            "r.example": pair("a", "b"),
            "r.example/team": pair("a", "b"),
            "r.example:5000": pair("a", "b"),
        }
    )
    assert place.store().logout("r.example")
    assert list(json.loads(place.config.read_text())["auths"]) == ["r.example/team", "r.example:5000"]


def test_login_and_logout_go_through_the_helper(place: Place) -> None:
    place.helper("all", "pass")
    place.docker(credsStore="all")
    store = place.store()
    assert store.login("r.example", "me", "hunter2") == "the credential helper docker-credential-all"
    assert json.loads(place.config.read_text()) == {"credsStore": "all", "auths": {"r.example": {}}}
    assert json.loads(place.calls("all")[0].removeprefix("store ")) == {
        "ServerURL": "r.example",
        "Username": "me",
        "Secret": "hunter2",
    }
    assert store.logout("r.example")
    assert place.calls("all")[1] == "erase r.example"
    assert json.loads(place.config.read_text())["auths"] == {}


def test_login_follows_a_symbolic_link(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.json"
    target.write_text("{}")
    place.config.parent.mkdir()
    place.config.symlink_to(target)
    place.store().login("r.example", "me", "x")
    assert place.config.is_symlink()
    assert "r.example" in target.read_text()


def test_login_replaces_every_spelling_of_the_host(place: Place) -> None:
    place.docker(auths={"docker.io": pair("old", "x"), "docker.io/team": pair("team", "x")})
    store = place.store()
    store.login("docker.io", "new", "y")
    assert found(store.lookup("docker.io", "library/a")) == ("new", "y")
    assert found(store.lookup("docker.io", "team/a")) == ("team", "x")


def test_what_cannot_be_read_is_an_error_that_names_the_file(place: Place) -> None:
    place.config.mkdir(parents=True)
    for ask in (place.store().lookup, lambda host: place.store().login(host, "me", "x")):
        with pytest.raises(InvalidProject) as caught:
            ask("r.example")
        assert (caught.value.code, caught.value.where) == ("invalid-credentials-file", str(place.config))


def test_a_pipe_without_a_writer_is_not_waited_for(place: Place) -> None:
    place.config.parent.mkdir()
    os.mkfifo(place.config)
    assert place.store().lookup("r.example") is None


def test_a_pipe_is_read_to_its_end(place: Place) -> None:
    reading, writing = os.pipe()
    os.write(writing, json.dumps({"auths": {"r.example": pair("me", "x")}}).encode())
    os.close(writing)
    place.environ["REGISTRY_AUTH_FILE"] = f"/dev/fd/{reading}"
    assert found(place.store().lookup("r.example")) == ("me", "x")
    os.close(reading)


def test_login_writes_the_named_file(place: Place, tmp_path: Path) -> None:
    place.environ["REGISTRY_AUTH_FILE"] = str(tmp_path / "deep" / "auth.json")
    assert place.store().login("r.example", "me", "x") == str(tmp_path / "deep" / "auth.json")
    assert not place.config.exists()


def test_a_corrupt_file_is_not_overwritten_by_login(place: Place) -> None:
    place.docker()
    place.config.write_text("{broken")
    with pytest.raises(InvalidProject):
        place.store().login("r.example", "me", "x")
    assert place.config.read_text() == "{broken"


@pytest.mark.parametrize("username", ["", "a:b"])
def test_impossible_user_names_are_refused(place: Place, username: str) -> None:
    with pytest.raises(InvalidProject):
        place.store().login("r.example", username, "x")
