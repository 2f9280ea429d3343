"""What reaches the terminal: no foreign control characters, no secrets, colours only where they are wanted."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from support.command import Result
from support.registry import Redirect, Status, TestRegistry
from support.workspace import Workspace, publish

EVIL = "\x1b[31mred\x1b]0;title\x07\x08\x9b31m\u202edlrow\u2066\r\x7f"


def is_harmless(text: str) -> bool:
    return all(char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co") for char in text)


def harmless(result: Result) -> Result:
    """The result, of which nothing could have driven a terminal."""
    assert is_harmless(result.stdout), ascii(result.stdout)
    assert is_harmless(result.stderr), ascii(result.stderr)
    return result


# --- control characters


def test_the_text_of_a_registrys_error_cannot_drive_the_terminal(project: Workspace) -> None:
    body = json.dumps({"errors": [{"code": f"DENIED{EVIL}", "message": f"no {EVIL} way"}]}, ensure_ascii=False)
    for options in ([], ["--format", "json"], ["--debug"]):
        project.registry.fault(("GET", "/manifests/"), action=Status(403, body=body.encode("utf-8", "surrogatepass")))
        result = harmless(project.run("resolve", "acme/good:1", *options))
        assert result.status == 77
        assert "red" in result.stderr


def test_headers_and_warnings_cannot_drive_the_terminal(project: Workspace) -> None:
    publish(project.registry, "acme/good", "1", {"a": b"a"})
    project.registry.warning = '299 - "old \x1b[31mred\x9b0m"'
    for options in ([], ["--debug"]):
        result = harmless(project.run("resolve", "acme/good:1", *options))
        assert result.status == 0
        assert "warning: " in result.stderr
        assert "old" in result.stderr


def test_tags_from_a_registry_cannot_drive_the_terminal(project: Workspace) -> None:
    body = json.dumps({"name": "acme/good", "tags": ["1.0", EVIL, "2.0\x1b[0m"]}).encode()
    for options in ([], ["--format", "json"], ["--version", ">=0"]):
        answer = Status(200, headers={"Content-Type": "application/json"}, body=body)
        project.registry.fault(("GET", "/tags/list"), action=answer)
        harmless(project.run("tags", "acme/good", *options))


def test_names_and_types_in_a_manifest_cannot_drive_the_terminal(synced: Workspace) -> None:
    publish(synced.registry, "acme/evil", "1", {f"a{EVIL}": b"a"})
    publish(synced.registry, "acme/evil", "2", {"a": b"a"}, artifact_type=f"application/{EVIL}")
    publish(synced.registry, "acme/evil", "3", {"a": b"a"}, annotations={f"k{EVIL}": EVIL})
    for tag in ("1", "2", "3"):
        harmless(synced.json("resolve", f"acme/evil:{tag}"))
        harmless(synced.json("pull", f"acme/evil:{tag}", "-o", f"out-{tag}"))
        harmless(synced.run("pull", f"acme/evil:{tag}", "-o", f"again-{tag}", "--debug"))
    synced.depend(evil={"oci": "acme/evil", "tag": "2"})
    harmless(synced.run("sync"))
    harmless(synced.run("list"))
    harmless(synced.run("list", "--format", "json"))


def test_names_of_files_on_disk_cannot_drive_the_terminal(synced: Workspace) -> None:
    try:
        (synced.directory / f"vendor/good/x{EVIL}").write_text("x")
        (synced.directory / os.fsdecode(b"vendor/good/y\xff\x1b[31m")).write_text("y")
    except OSError:
        pytest.skip("the file system takes no such names")
    for command in ("check", "sync"):
        assert harmless(synced.run(command)).status == 1
        found = harmless(synced.run(command, "--format", "json"))
        assert found.status == 1
        json.loads(found.stdout or found.stderr)


def test_json_keeps_every_character(synced: Workspace) -> None:
    name = "vendor/good/größe-€-\x9b-\u202e.txt"
    (synced.directory / name).write_text("x")
    result = harmless(synced.json("check"))
    assert result.json["dependencies"][0]["extra"] == [name.removeprefix("vendor/good/")]
    assert "größe-€" in result.stdout


# --- secrets


def secrets_of(registry: TestRegistry) -> list[str]:
    plain = f"{registry.username}:{registry.password}"
    tokens = [request.headers.get("authorization", "").partition(" ")[2] for request in registry.requests]
    return [
        registry.password,
        registry.identity_token,
        base64.b64encode(plain.encode()).decode(),
        *filter(None, tokens),
    ]


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_debug_shows_every_request_and_no_secret(project: Workspace, home: Path, auth: str) -> None:
    registry = project.registry
    registry.auth = "basic" if auth == "basic" else "token"
    publish(registry, "acme/good", "1", {"a.txt": b"a"})
    config = home / ".docker/config.json"
    config.parent.mkdir()
    entry = {"username": registry.username, "password": registry.password}
    config.write_text(json.dumps({"auths": {registry.host: entry}}))
    project.depend(good="acme/good:1")
    (project.directory / "b.txt").write_text("b")
    runs = [
        project.run("sync", "--debug"),
        project.run("pull", "acme/good:1", "-o", "out", "--debug", "-v"),
        project.run("push", "acme/pushed:1", "b.txt", "--debug", "--format", "json"),
        project.run("tags", "acme/missing", "--debug"),
    ]
    assert [run.status for run in runs] == [0, 0, 0, 66], [run.stderr for run in runs]
    for request in registry.requests:
        assert any(f"> {request.method} " in run.stderr and request.path in run.stderr for run in runs), request.target
    assert any(request.headers.get("authorization") for request in registry.requests)
    for secret in secrets_of(registry):
        assert not any(secret in run.stdout + run.stderr for run in runs), secret


def test_an_identity_token_is_no_less_secret(project: Workspace, home: Path) -> None:
    registry = project.registry
    registry.auth = "token"
    publish(registry, "acme/good", "1", {"a.txt": b"a"})
    config = home / ".docker/config.json"
    config.parent.mkdir()
    entry = {"auth": base64.b64encode(b"<token>:").decode(), "identitytoken": registry.identity_token}
    config.write_text(json.dumps({"auths": {registry.host: entry}}))
    run = project.run("pull", "acme/good:1", "-o", "out", "--debug")
    assert run.status == 0, run.stderr
    for secret in secrets_of(registry):
        assert secret not in run.stdout + run.stderr


def test_signed_addresses_and_users_in_addresses_are_not_shown(project: Workspace) -> None:
    publish(project.registry, "acme/good", "1", {"a.txt": b"a"})
    with TestRegistry() as storage:
        storage.fault(("GET", "/signed"), action=Status(403, body=b"expired"), times=9)
        url = f"{storage.url}/signed?X-Amz-Signature=S1GNATURE&X-Amz-Credential=CR3D&sig=S4S"
        for options in ([], ["--debug"], ["--format", "json"]):
            project.registry.fault(("GET", "/blobs/"), action=Redirect(url))
            run = project.run("pull", "acme/good:1", "-o", "out", *options)
            assert run.status == 75, run.stderr
            for secret in ("S1GNATURE", "CR3D", "S4S"):
                assert secret not in run.stdout + run.stderr
        assert [request.headers.get("authorization") for request in storage.requests] == [None] * 3


def test_a_failing_login_shows_no_password(project: Workspace) -> None:
    project.registry.auth = "token"
    command = ["login", project.registry.host, "-u", "tester", "--password-stdin", "--debug"]
    run = subprocess.run(
        [sys.executable, "-m", "provender", *command], input="wr0ng-pass", capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 77
    encoded = base64.b64encode(b"tester:wr0ng-pass").decode()
    assert not any(secret in run.stdout + run.stderr for secret in ("wr0ng-pass", encoded))


# --- terminals and colours


def on_terminal(workspace: Workspace, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and all that a command wrote to a terminal that is its stdout and its stderr."""
    if sys.platform == "win32":
        pytest.skip("there is no pseudo-terminal here")
    import pty

    leader, follower = pty.openpty()
    environ = {**os.environ, **workspace.env, "TERM": "xterm-256color", **(env or {})}
    process = subprocess.Popen(
        [sys.executable, "-m", "provender", *arguments],
        cwd=workspace.directory,
        env=environ,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    chunks = []
    try:
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # how Linux says that the other side closed
                break
            if not chunk:
                break
            chunks.append(chunk)
        return process.wait(timeout=60), b"".join(chunks).decode().replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def test_a_terminal_gets_colours_unless_they_are_unwanted(synced: Workspace) -> None:
    status, text = on_terminal(synced, "list")
    assert (status, "\x1b[1mNAME" in text) == (0, True)
    for env, options in (
        ({"NO_COLOR": "1"}, []),
        ({"TERM": "dumb"}, []),
        ({}, ["--color", "never"]),
    ):
        status, text = on_terminal(synced, "list", *options, env=env)
        assert (status, "\x1b" in text) == (0, False), (env, options)
    assert "\x1b" not in synced.succeed("list").stdout
    assert "\x1b[1m" in synced.succeed("list", "--color", "always").stdout
    assert "\x1b[1m" in synced.run("list", env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b" not in synced.run("list", env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout


def test_bars_vanish_and_leave_a_summary(synced: Workspace) -> None:
    publish(synced.registry, "acme/big", "1", {"big.bin": os.urandom(3_000_000)})
    synced.depend(good="acme/good:1.0.0", big="acme/big:1")
    status, text = on_terminal(synced, "sync", env={"NO_COLOR": "1"})
    assert status == 0
    assert "big " in text
    assert text.endswith("the lock was written\n")
    # The cursor is shown again, and the lines of the bars were erased.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "\x1b[2K" in text
    last = text.splitlines()[-1]
    assert re.fullmatch(r"2 dependencies in [0-9]+\.[0-9] s: 1 installed; 2\.9 MiB on disk; the lock was written", last)


def test_a_log_gets_lines_and_quiet_gets_nothing(synced: Workspace) -> None:
    publish(synced.registry, "acme/big", "1", {"big.bin": b"big"})
    synced.depend(good="acme/good:1.0.0", big="acme/big:1")
    run = synced.run("sync", env={"CI": "true"})
    assert "done: big" in run.stderr.splitlines()
    assert "\x1b" not in run.stdout + run.stderr
    synced.depend(good="acme/good:1.0.0")
    quiet = synced.run("sync", "-q")
    assert (quiet.status, quiet.stderr) == (0, "")
    assert synced.run("check", "-q").stderr == ""


def test_nothing_is_asked_without_a_terminal_and_a_password_is_not_echoed(project: Workspace) -> None:
    project.registry.auth = "basic"
    status, text = on_terminal(project, "login", "acme")
    assert status == 2
    assert "is no host" in text


def test_the_environment_sets_options(synced: Workspace) -> None:
    assert synced.run("list", env={"PROVENDER_LIST_FORMAT": "json"}).json["kind"] == "list"


def test_usage_errors_are_json_too(synced: Workspace) -> None:
    result = synced.run("sync", "--format", "json", "--nonsense")
    assert result.status == 2
    assert (result.error["code"], result.error["exit"]) == ("usage", 2)
    assert "--nonsense" in result.error["message"]
    assert "provender sync --help" in result.error["hint"]
