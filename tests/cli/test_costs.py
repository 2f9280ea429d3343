"""What a command costs: requests, and memory that does not grow with what is moved."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.registry import Redirect, TestRegistry, digest_of
from support.served import server_process
from support.workspace import ARCHIVE, OCTETS, Workspace, layer, packed, publish

MOST_MIB = 100
BIG = 160 << 20
NEW = b"new\n"
CHUNK = bytes(range(256)) * 4096  # 1 MiB


def asked(registry: TestRegistry) -> list[str]:
    """The requests so far, as method and last parts of the path; forgotten afterwards."""
    found = [f"{request.method} {request.path.removeprefix('/v2/')}" for request in registry.requests]
    registry.requests.clear()
    return found


# --- requests


@pytest.mark.parametrize("count", [1, 5])
def test_a_pull_asks_once_for_the_manifest_and_once_for_each_layer(project: Workspace, count: int) -> None:
    files = {f"{number}.txt": f"{number}".encode() for number in range(count)}
    publish(project.registry, "acme/good", "1", files)
    project.prepare("pull", "acme/good:1", "-o", "out")
    requests = asked(project.registry)
    assert requests[0] == "GET acme/good/manifests/1"
    blobs = [f"GET acme/good/blobs/{digest_of(content)}" for content in files.values()]
    assert sorted(requests[1:]) == sorted(blobs)
    assert project.registry.connections <= max(1, count)


def test_with_tokens_it_is_one_more_request_for_the_scope(project: Workspace) -> None:
    project.registry.auth, project.registry.anonymous_pull = "token", True
    publish(project.registry, "acme/good", "1", {"a": b"a", "b": b"b", "c": b"c"})
    project.prepare("pull", "acme/good:1", "-o", "out")
    requests = asked(project.registry)
    # The refusal that names the token service, the token, and then everything with it.
    assert requests[:3] == ["GET acme/good/manifests/1", "GET /token", "GET acme/good/manifests/1"]
    assert len(requests) == 6
    assert requests.count("GET /token") == 1


def test_the_same_blob_in_two_layers_is_asked_for_once_by_sync(project: Workspace) -> None:
    publish(project.registry, "acme/good", "1", {"a": b"same" * 1000, "b": b"same" * 1000})
    project.depend(good="acme/good:1")
    project.prepare("sync")
    assert project.registry.count("GET", "/blobs/") == 1


def test_a_sync_asks_no_more_than_a_pull_for_each_dependency(project: Workspace) -> None:
    publish(project.registry, "acme/one", "1", {"a": b"a", "b": b"b"})
    publish(project.registry, "acme/two", "1.2.0", {"c": b"c"})
    project.depend(one="acme/one:1", two={"oci": "acme/two", "version": "^1"})
    project.prepare("sync")
    requests = asked(project.registry)
    assert sorted(requests) == sorted(
        [
            "GET acme/one/manifests/1",
            f"GET acme/one/blobs/{digest_of(b'a')}",
            f"GET acme/one/blobs/{digest_of(b'b')}",
            "GET acme/two/tags/list",
            "GET acme/two/manifests/1.2.0",
            f"GET acme/two/blobs/{digest_of(b'c')}",
        ]
    )


def test_a_warm_cache_leaves_only_the_question_what_a_tag_is(synced: Workspace) -> None:
    for name in ("provender.lock", ".provender/state.json"):
        (synced.directory / name).unlink()
    subprocess.run(["rm", "-rf", str(synced.directory / "vendor")], check=True, timeout=30)
    synced.prepare("sync")
    assert asked(synced.registry) == ["GET acme/good/manifests/1.0.0"]


def test_a_new_version_costs_only_what_is_new(synced: Workspace) -> None:
    publish(synced.registry, "acme/good", "2.0.0", {"a.txt": b"alpha\n", "sub/b.txt": NEW})
    synced.depend(good="acme/good:2.0.0")
    synced.prepare("sync")
    assert asked(synced.registry) == ["GET acme/good/manifests/2.0.0", f"GET acme/good/blobs/{digest_of(NEW)}"]


def test_a_push_asks_once_for_each_blob_and_sends_what_is_missing(project: Workspace) -> None:
    for name in ("a", "b"):
        (project.directory / name).write_text(name)
    project.prepare("push", "acme/pushed:1", "a", "b")
    requests = asked(project.registry)
    assert [item for item in requests if item.startswith("PUT acme/pushed/manifests/")] == [
        "PUT acme/pushed/manifests/1"
    ]
    blobs = [item for item in requests if "/manifests/" not in item]
    # Two layers and the empty config: HEAD, POST, PUT each.
    assert sorted(item.split()[0] for item in blobs) == ["HEAD"] * 3 + ["POST"] * 3 + ["PUT"] * 3
    project.prepare("push", "acme/pushed:2", "a", "b")
    again = asked(project.registry)
    assert sorted(item.split()[0] for item in again) == ["HEAD"] * 3 + ["PUT"]


def test_an_index_costs_one_request_more(project: Workspace) -> None:
    digest = publish(project.registry, "acme/multi", None, {"a": b"a"})
    raw = project.registry.manifest("acme/multi", digest)
    assert raw is not None
    kind = "application/vnd.oci.image.index.v1+json"
    child = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": len(raw)}
    body = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [child]}).encode()
    project.registry.push_manifest("acme/multi", body, kind, tag="1")
    project.depend(multi="acme/multi:1")
    project.prepare("sync")
    assert asked(project.registry) == [
        "GET acme/multi/manifests/1",
        f"GET acme/multi/manifests/{digest}",
        f"GET acme/multi/blobs/{digest_of(b'a')}",
    ]


# --- memory


class _Zeros(http.server.BaseHTTPRequestHandler):
    """Answers with BIG bytes that nobody holds."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(BIG))
        self.end_headers()
        for _ in range(BIG // len(CHUNK)):
            self.wfile.write(CHUNK)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the base class's)
        return


@contextmanager
def endless() -> Iterator[str]:
    """A server of the big blob."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Zeros)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/big"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture(scope="module")
def big_digest() -> str:
    hasher = hashlib.sha256()
    for _ in range(BIG // len(CHUNK)):
        hasher.update(CHUNK)
    return f"sha256:{hasher.hexdigest()}"


# A process begins with the size of the one that it was started from, so a small one stands in between.
_MEASURE = """
import json, os, resource, subprocess, sys
process = subprocess.Popen([sys.executable, "-m", "provender", *sys.argv[1:]], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss]))
"""


def peak_mib(workspace: Workspace, *arguments: str) -> float:
    """The most memory that a command, which has to succeed, ever held."""
    if not hasattr(os, "wait4"):
        pytest.skip("this system does not tell the memory of a child")
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, *arguments],
        cwd=workspace.directory,
        env={**os.environ, **workspace.env},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    status, peak = json.loads(run.stdout)
    assert status == 0, run.stderr
    return float(peak) / (1 << 20 if sys.platform == "darwin" else 1 << 10)


@pytest.fixture
def big(project: Workspace, big_digest: str) -> Iterator[Workspace]:
    """A project whose registry has the artifact acme/big:1 with one big layer."""
    project.registry.content.repository("acme/big").blobs[big_digest] = b""
    note = {"org.opencontainers.image.title": "big.bin"}
    entry: dict[str, object] = {"mediaType": OCTETS, "digest": big_digest, "size": BIG, "annotations": note}
    publish(project.registry, "acme/big", "1", layers=[entry])
    with endless() as url:
        project.registry.fault(("GET", f"/blobs/{big_digest}"), action=Redirect(url), times=99)
        yield project


def test_the_memory_of_a_pull_does_not_grow_with_the_blob(big: Workspace) -> None:
    assert peak_mib(big, "pull", "acme/big:1", "-o", "out") < MOST_MIB
    assert (big.directory / "out/big.bin").stat().st_size == BIG


def test_the_memory_of_a_sync_does_not_grow_with_the_blob(big: Workspace) -> None:
    big.depend(big="acme/big:1")
    assert peak_mib(big, "sync") < MOST_MIB
    assert (big.directory / "vendor/big/big.bin").stat().st_size == BIG
    # From the cache, and when every byte is looked at again.
    (big.directory / "vendor/big/big.bin").unlink()
    assert peak_mib(big, "sync", "--offline") < MOST_MIB
    assert peak_mib(big, "check", "--deep") < MOST_MIB


def test_the_memory_of_an_extraction_does_not_grow_with_the_content(project: Workspace) -> None:
    # Hard enough to compress that nobody takes it for a bomb.
    content = b"".join(os.urandom(512) + bytes(15_872) for _ in range(7_500))
    archive = packed({"big.bin": content, "other.bin": bytes(1000)})
    assert len(content) > MOST_MIB << 20 > len(archive)
    publish(
        project.registry, "acme/big", "1", layers=[layer(project.registry, "acme/big", archive, media_type=ARCHIVE)]
    )
    assert peak_mib(project, "pull", "acme/big:1", "-o", "out") < MOST_MIB
    assert (project.directory / "out/big.bin").stat().st_size == len(content)


def test_the_memory_of_a_push_does_not_grow_with_the_file(project: Workspace) -> None:
    with (project.directory / "big.bin").open("wb") as file:
        for _ in range(BIG // len(CHUNK)):
            file.write(CHUNK)
    assert peak_mib(project, "push", "layout:./store:1", "big.bin") < MOST_MIB


def test_the_memory_of_a_copy_does_not_grow_with_its_blobs(project: Workspace, tmp_path: Path) -> None:
    with (project.directory / "big.bin").open("wb") as file:
        for _ in range(BIG // len(CHUNK)):
            file.write(CHUNK)
    project.prepare("push", "layout:./source:1", "big.bin")
    with server_process(tmp_path / "logs", tmp_path / "store") as server:
        assert peak_mib(project, "copy", "layout:./source:1", f"{server.host}/acme/big") < MOST_MIB
        assert peak_mib(project, "copy", f"{server.host}/acme/big:1", "layout:./back") < MOST_MIB
    project.prepare("pull", "layout:./back:1", "-o", "out")
    assert (project.directory / "out/big.bin").stat().st_size == BIG
