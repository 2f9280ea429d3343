"""Garbage collection: what is needed stays, what was used lately stays, the rest goes."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from provender.errors import NotFound, ProvenderError
from provender.server import Collected, collect
from support.command import provender_forked, succeed
from support.served import INDEX, MANIFEST, Client, described, digest_of, served


def age(store: Path, seconds: float = 7200) -> None:
    """Make every blob older."""
    then = time.time() - seconds
    for path in store.rglob("blobs/*/*"):
        with suppress(FileNotFoundError):  # a collection that runs beside it was faster
            os.utime(path, (then, then))


def blobs(store: Path, repository: str) -> set[str]:
    return {path.name for path in (store / repository).glob("blobs/*/*")}


def run(store: Path, *, untagged: bool = False, dry_run: bool = False) -> dict[str, Collected]:
    return {item.repository: item for item in collect(store, grace_s=3600, untagged=untagged, dry_run=dry_run)}


def test_only_what_no_manifest_needs_is_removed(store: tuple[Client, Path]) -> None:
    client, path = store
    client.manifest("a/b", "v1", [b"needed"])
    gone = client.blob("a/b", b"garbage" * 100, "sha512")
    client.blob("c", b"garbage too")
    before = blobs(path, "a/b")
    age(path)
    assert run(path, dry_run=True)["a/b"].blobs == 1
    assert blobs(path, "a/b") == before
    found = run(path)
    assert (found["a/b"].blobs, found["a/b"].freed_bytes, found["c"].blobs) == (1, 700, 1)
    assert blobs(path, "a/b") == before - {gone.removeprefix("sha512:")}
    assert client.ask("GET", "/v2/a/b/manifests/v1").status == 200
    assert client.ask("GET", f"/v2/a/b/blobs/{digest_of(b'needed')}").body == b"needed"
    assert client.ask("GET", f"/v2/a/b/blobs/{gone}").status == 404


@pytest.mark.parametrize("how", ["push", "head", "mount"])
def test_what_a_push_under_way_needs_stays(store: tuple[Client, Path], how: str) -> None:
    client, path = store
    digest = client.blob("a", b"needed soon")
    client.blob("other", b"needed soon")
    age(path)
    match how:
        case "push":
            client.blob("a", b"needed soon")
        case "head":
            assert client.ask("HEAD", f"/v2/a/blobs/{digest}").status == 200
        case _:
            assert client.ask("POST", f"/v2/a/blobs/uploads/?mount={digest}&from=other").status == 201
    run(path)
    assert client.ask("GET", f"/v2/a/blobs/{digest}").status == 200


def test_an_open_upload_is_not_touched(store: tuple[Client, Path]) -> None:
    client, path = store
    location = client.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    client.ask("PATCH", location, b"begun")
    run(path)
    assert client.ask("PUT", f"{location}?digest={digest_of(b'begun, ended')}", b", ended").status == 201


def test_untagged_manifests_go_only_when_asked_for_and_not_what_belongs_to_tagged_ones(
    store: tuple[Client, Path],
) -> None:
    client, path = store
    child = client.manifest("a", None, [b"child"])
    children = {"manifests": [{"mediaType": MANIFEST, "digest": child, "size": 1}]}
    size = int(client.ask("HEAD", f"/v2/a/manifests/{child}").headers["content-length"])
    children["manifests"][0]["size"] = size
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, **children}).encode()
    assert client.ask("PUT", "/v2/a/manifests/index", index, content_type=INDEX).status == 201
    note = client.manifest("a", None, [b"note"], subject=child)
    note_of_note = client.manifest("a", None, [b"note of note"], subject=note)
    lost = client.manifest("a", None, [b"lost"], subject=digest_of(b"never there"))
    replaced = client.manifest("a", "v1", [b"old"])
    client.manifest("a", "v1", [b"new"])
    age(path)
    assert run(path)["a"].blobs == 0
    young = client.manifest("a", None, [b"young"])
    found = run(path, untagged=True)["a"]
    assert (found.manifests, found.blobs) == (2, 4)
    for digest in (child, note, note_of_note, young):
        assert client.ask("GET", f"/v2/a/manifests/{digest}").status == 200
    for digest in (lost, replaced):
        assert client.ask("GET", f"/v2/a/manifests/{digest}").status == 404
    assert run(path, untagged=True)["a"].blobs == 0


def test_a_manifest_that_cannot_be_read_stops_the_collection(store: tuple[Client, Path]) -> None:
    client, path = store
    digest = client.manifest("a", "v1", [b"x"])
    client.blob("a", b"garbage")
    file = path / "a/blobs/sha256" / digest.removeprefix("sha256:")
    file.write_bytes(file.read_bytes().replace(b"schema", b"SCHEMA"))
    age(path)
    before = blobs(path, "a")
    with pytest.raises(ProvenderError):
        run(path)
    assert blobs(path, "a") == before


def test_a_single_layout_is_collected(tmp_path: Path) -> None:
    with served(tmp_path / "store") as client:
        client.manifest("a", "v1", [b"x"])
        client.blob("a", b"garbage")
    age(tmp_path / "store")
    [found] = collect(tmp_path / "store/a", grace_s=3600)
    assert (found.repository, found.blobs, found.kept_blobs) == ("", 1, 3)
    with pytest.raises(NotFound):
        list(collect(tmp_path / "none", grace_s=0))


def test_pushes_while_the_store_is_collected_again_and_again(tmp_path: Path) -> None:
    """What was there before each push is old, so that the collections take all of it that the tag does not hold."""
    stop = threading.Event()
    failures: list[BaseException] = []
    removed: list[int] = []

    def collecting() -> None:
        while not stop.is_set():
            try:
                removed.extend(item.blobs for item in collect(tmp_path / "store", grace_s=600, untagged=True))
            except ProvenderError as error:
                failures.append(error)

    with served(tmp_path / "store") as client:
        client.manifest("a", "latest", [b"first"])
        thread = threading.Thread(target=collecting)
        thread.start()
        try:
            for number in range(40):
                age(tmp_path / "store")
                client.manifest("a", "latest", [b"shared", b"%d" % number])
                manifest = client.ask("GET", "/v2/a/manifests/latest").json
                for layer in manifest["layers"]:
                    assert client.ask("GET", f"/v2/a/blobs/{layer['digest']}").status == 200
        finally:
            stop.set()
            thread.join()
    assert not failures
    assert sum(removed) > 0


def test_the_command(tmp_path: Path) -> None:
    with served(tmp_path / "store") as client:
        client.manifest("a", "v1", [b"x"])
        client.blob("a", b"garbage")
    age(tmp_path / "store")
    said = succeed("gc", tmp_path / "store", "--dry-run").stdout
    assert said == "would remove 1 blob, 7 B\n"
    document = succeed("gc", tmp_path / "store", "--older-than", "30m", "--format", "json").json
    assert document["repositories"] == [
        {"repository": "a", "manifests": 0, "blobs": 1, "freedBytes": 7, "keptBlobs": 3}
    ]
    assert provender_forked("gc", tmp_path / "store", "--older-than", "soon").status == 2
    assert provender_forked("gc", tmp_path / "none").status == 66
    assert described(b"x", "y")["size"] == 1
