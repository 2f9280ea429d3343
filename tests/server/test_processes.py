"""`provender serve` as a process: several on one store, killed, stopped, and what it says when it cannot start."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from provender.server.uploads import AREA
from support.certificates import make_certificates
from support.command import provender_forked
from support.served import Client, digest_of, server_process


def upload_directories(store: Path) -> list[str]:
    return [path.name for path in (store / AREA).glob("*") if path.is_dir()] if (store / AREA).exists() else []


def test_several_processes_serve_and_write_one_store(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with server_process(tmp_path / "logs", store) as one, server_process(tmp_path / "logs", store) as two:
        failures: list[BaseException] = []

        def work(client: Client, name: str) -> None:
            try:
                for number in range(15):
                    client.manifest("shared", f"{name}-{number}", [b"same", f"{name}{number}".encode()])
            except BaseException as error:  # noqa: BLE001 - shown below
                failures.append(error)

        clients = [one.client, two.client, one.client, two.client]
        threads = [threading.Thread(target=work, args=(client, f"t{n}")) for n, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        expected = sorted(f"t{n}-{number}" for n in range(4) for number in range(15))
        for client in (one.client, two.client):
            assert client.ask("GET", "/v2/shared/tags/list").json["tags"] == expected
            for tag in expected:
                assert client.ask("GET", f"/v2/shared/manifests/{tag}").status == 200


def test_a_killed_process_leaves_a_temporary_file_that_the_next_start_removes(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with server_process(tmp_path / "logs", store) as other, server_process(tmp_path / "logs", store) as killed:
        kept = other.client.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
        other.client.ask("PATCH", kept, b"begun")
        location = killed.client.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
        connection = http.client.HTTPConnection(killed.host, timeout=10)
        connection.putrequest("PATCH", location)
        connection.putheader("Content-Length", "10000000")
        connection.endheaders(bytes(3_000_000))
        deadline = time.monotonic() + 10
        while sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) < 1_000_000:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        killed.kill()
        connection.close()
        assert len(upload_directories(store)) == 2
        assert not list(store.glob("a/blobs/*/*"))
        with server_process(tmp_path / "logs", store) as third:
            assert len(upload_directories(store)) == 1
            assert third.client.ask("GET", "/healthz").json["status"] == "ok"
        digest = digest_of(b"begun and ended")
        assert other.client.ask("PUT", f"{kept}?digest={digest}", b" and ended").status == 201
    assert not (store / AREA).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_running_requests_end(tmp_path: Path, number: signal.Signals) -> None:
    with server_process(tmp_path / "logs", tmp_path / "store", "--log-format", "json") as server:
        location = server.client.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
        connection = http.client.HTTPConnection(server.host, timeout=10)
        connection.putrequest("PUT", f"{location}?digest={digest_of(b'12345678')}")
        connection.putheader("Content-Length", "8")
        connection.endheaders(b"1234")
        time.sleep(0.2)
        server.process.send_signal(number)
        time.sleep(0.3)
        connection.send(b"5678")
        assert connection.getresponse().status == 201
        connection.close()
        assert server.process.wait(15) == 0
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines if line["kind"] == "request"] == [202, 201]
    assert [line["requests"] for line in lines if line["kind"] == "metrics"] == [2]


def test_an_archive_is_served_and_nothing_is_taken(tmp_path: Path) -> None:
    with server_process(tmp_path / "logs", tmp_path / "store") as server:
        digest = server.client.manifest("some/thing", "v1", [b"x" * 300_000])
    with tarfile.open(tmp_path / "Some Thing.tar", "w") as archive:
        archive.add(tmp_path / "store/some/thing", ".")
    with server_process(tmp_path / "logs", tmp_path / "Some Thing.tar") as server:
        client = server.client
        assert client.ask("GET", "/v2/_catalog").json == {"repositories": ["some-thing"]}
        assert client.ask("HEAD", "/v2/some-thing/manifests/v1").headers["docker-content-digest"] == digest
        blob = f"/v2/some-thing/blobs/{digest_of(b'x' * 300_000)}"
        assert client.ask("GET", blob).body == b"x" * 300_000
        assert client.ask("GET", blob, range="bytes=-5").body == b"xxxxx"
        for method, path in (
            ("POST", "/v2/some-thing/blobs/uploads/"),
            ("PUT", "/v2/some-thing/manifests/v2"),
            ("DELETE", blob),
        ):
            answer = client.ask(method, path, b"")
            assert (answer.status, answer.code) == (405, "UNSUPPORTED")


def test_read_only_takes_nothing(tmp_path: Path) -> None:
    with server_process(tmp_path / "logs", tmp_path / "store") as server:
        server.client.manifest("a", "v1", [b"x"])
    with server_process(tmp_path / "logs", tmp_path / "store", "--read-only") as server:
        assert server.client.ask("GET", "/v2/a/manifests/v1").status == 200
        assert server.client.ask("DELETE", "/v2/a/manifests/v1").code == "UNSUPPORTED"
        assert server.client.ask("POST", "/v2/a/blobs/uploads/").status == 405


def test_a_single_layout_takes_its_own_repository_alone(tmp_path: Path) -> None:
    with server_process(tmp_path / "logs", tmp_path / "store") as server:
        server.client.manifest("a", "v1", [b"x"])
    with server_process(tmp_path / "logs", tmp_path / "store/a", "--name", "lib/a") as server:
        server.client.manifest("lib/a", "v2", [b"y"])
        assert server.client.ask("GET", "/v2/lib/a/tags/list").json["tags"] == ["v1", "v2"]
        assert server.client.ask("POST", "/v2/other/blobs/uploads/").code == "NAME_UNKNOWN"


def test_other_machines_need_a_flag_or_a_password(tmp_path: Path) -> None:
    refused = provender_forked("serve", tmp_path / "store", "--listen", "0.0.0.0:0")
    assert (refused.status, "--allow-remote" in refused.stderr) == (2, True)


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:", "127.0.0.1:99999", ":80", "127.0.0.1:x"])
def test_an_address_that_cannot_be_is_a_usage_error(listen: str) -> None:
    assert provender_forked("serve", "--listen", listen).status == 2


def test_a_port_that_is_taken_is_an_error_with_a_hint() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = provender_forked("serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--format", "json")
    assert (result.status, result.error["code"]) == (74, "port-taken")


def test_tls(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    cert, key = certificates.server
    with server_process(tmp_path / "logs", "--tls-cert", cert, "--tls-key", key) as server:
        connection = http.client.HTTPSConnection(
            server.host, timeout=10, context=ssl.create_default_context(cafile=certificates.ca)
        )
        connection.request("GET", "/v2/")
        assert connection.getresponse().status == 200
        connection.close()
    wrong = provender_forked(
        "serve", "--listen", "127.0.0.1:0", "--tls-cert", key, "--tls-key", key, "--format", "json"
    )
    assert (wrong.status, wrong.error["code"]) == (78, "invalid-certificate")
    assert provender_forked("serve", "--tls-cert", cert).status == 2


def test_without_the_extra_the_error_has_the_line_that_installs_it(tmp_path: Path) -> None:
    (tmp_path / "hide.py").write_text(
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'starlette' else find(name, *rest)\n"
        "sys.argv = ['provender', 'serve']\n"
        "from provender.cli.main import run\n"
        "run()\n"
    )
    run = subprocess.run([sys.executable, tmp_path / "hide.py"], capture_output=True, text=True, check=False)
    assert run.returncode == 69
    assert "pip install 'provender[serve]'" in run.stderr
