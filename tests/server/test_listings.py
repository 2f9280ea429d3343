"""Lists over the socket: tags, repositories, referrers, in pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest

from provender.oci import Descriptor, Document
from provender.oci.media_types import INDEX
from provender.server import Limits
from provender.storage.layout import LayoutStorage
from support.served import MANIFEST, Answer, Client, described, digest_of, served


def following(client: Client, path: str, key: str) -> list[list[object]]:
    """The pages from `path` on."""
    pages = []
    while True:
        answer = client.ask("GET", path)
        assert answer.status == 200, answer
        pages.append(answer.json[key])
        link = answer.headers.get("link")
        if link is None:
            return pages
        assert link.endswith('>; rel="next"')
        path = link[1 : link.index(">")]


def test_tags_are_sorted_and_come_in_pages(client: Client) -> None:
    names = ["b", "a", "Z", "_x", "v1.10", "v1.9"]
    for name in names:
        client.manifest("a/b", name, [b"x"])
    assert client.ask("GET", "/v2/a/b/tags/list").json == {"name": "a/b", "tags": sorted(names)}
    assert following(client, "/v2/a/b/tags/list?n=4", "tags") == [sorted(names)[:4], sorted(names)[4:]]
    assert following(client, "/v2/a/b/tags/list?n=3", "tags") == [sorted(names)[:3], sorted(names)[3:]]
    assert client.ask("GET", "/v2/a/b/tags/list?last=aa").json["tags"] == ["b", "v1.10", "v1.9"]
    none = client.ask("GET", "/v2/a/b/tags/list?n=0")
    assert (none.json["tags"], "link" in none.headers) == ([], False)
    assert client.ask("GET", "/v2/none/tags/list").code == "NAME_UNKNOWN"


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "", "9" * 40, "%D9%A3"])
def test_a_page_size_that_is_no_number_is_refused(client: Client, number: str) -> None:
    client.blob("a/b", b"x")
    assert client.ask("GET", f"/v2/a/b/tags/list?n={number}").status == 400


def test_repositories_are_sorted_and_come_in_pages(client: Client) -> None:
    for name in ("b", "a/b/c", "a/b", "z"):
        client.blob(name, b"x")
    assert client.ask("GET", "/v2/_catalog").json == {"repositories": ["a/b", "a/b/c", "b", "z"]}
    assert following(client, "/v2/_catalog?n=3", "repositories") == [["a/b", "a/b/c", "b"], ["z"]]


def referrers(client: Client, subject: str, query: str = "") -> Answer:
    answer = client.ask("GET", f"/v2/a/b/referrers/{subject}{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, INDEX)
    return answer


def test_referrers_are_listed_with_type_and_annotations(client: Client) -> None:
    subject = digest_of(b"need not be there")
    one = client.manifest("a/b", None, [b"1"], subject=subject, annotations={"k": "v"})
    two = client.manifest("a/b", "tagged", [b"2"], subject=subject, artifactType="application/vnd.other+json")
    client.manifest("a/b", None, [b"3"], subject=digest_of(b"other"))
    found = {item["digest"]: item for item in referrers(client, subject).json["manifests"]}
    assert set(found) == {one, two}
    assert found[one]["annotations"] == {"k": "v"}
    assert (found[one]["artifactType"], found[one]["mediaType"]) == ("application/vnd.test", MANIFEST)
    wanted = f"?artifactType={quote('application/vnd.other+json', safe='')}"
    answer = referrers(client, subject, wanted)
    assert [item["digest"] for item in answer.json["manifests"]] == [two]
    assert answer.headers["oci-filters-applied"] == "artifactType"
    both = referrers(client, subject, f"{wanted}&artifactType=application/vnd.test")
    assert len(both.json["manifests"]) == 2
    client.ask("DELETE", f"/v2/a/b/manifests/{one}")
    assert [item["digest"] for item in referrers(client, subject).json["manifests"]] == [two]


def test_the_type_of_a_referrer_without_one_is_that_of_its_config(client: Client) -> None:
    subject = digest_of(b"subject")
    client.manifest("a/b", None, [b"1"], subject=subject, artifactType=None)
    listed = referrers(client, subject).json["manifests"]
    assert [item["artifactType"] for item in listed] == ["application/vnd.oci.empty.v1+json"]


def test_a_push_with_a_subject_says_that_it_was_understood(client: Client) -> None:
    client.blob("a/b", b"{}")
    subject = described(b"subject", MANIFEST)
    layer = described(b"{}", "application/vnd.test")
    raw = json.dumps({"schemaVersion": 2, "config": layer, "layers": [layer], "subject": subject}).encode()
    answer = client.ask("PUT", "/v2/a/b/manifests/v1", raw, content_type=MANIFEST)
    assert answer.headers["oci-subject"] == subject["digest"]


def test_nobody_refers_to_what_is_unknown(client: Client) -> None:
    assert referrers(client, "sha256:" + "0" * 64).json["manifests"] == []
    assert client.ask("GET", "/v2/a/b/referrers/sha256:bad").code == "DIGEST_INVALID"


def test_referrers_come_in_pages(tmp_path: Path) -> None:
    subject = digest_of(b"subject")
    with served(tmp_path / "store", limits=Limits(referrers_page=2, referrers_page_bytes=1000)) as client:
        digests = {client.manifest("a/b", None, [b"%d" % number], subject=subject) for number in range(5)}
        large = client.manifest("a/b", None, [b"large"], subject=subject, annotations={"a": "x" * 5000})
        path = f"/v2/a/b/referrers/{subject}?artifactType=application/vnd.test"
        pages = following(client, path, "manifests")
        assert max(len(page) for page in pages) == 2
        listed = [item["digest"] for page in pages for item in page if isinstance(item, dict)]
        assert listed == sorted(digests | {large})


def test_fallback_tags_and_untagged_referrers_of_a_layout_are_taken_in(tmp_path: Path) -> None:
    with served(tmp_path / "store") as client:
        subject = client.manifest("a/b", "v1", [b"subject"])
        listed = client.manifest("a/b", None, [b"listed"], subject=subject)
        under_tag = client.manifest("a/b", None, [b"under the tag"], subject=subject)
    layout = LayoutStorage(tmp_path / "store/a/b")
    document = layout.resolve(under_tag)
    fallback = json.dumps(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**described(document.raw, MANIFEST)}]}
    ).encode()
    layout.push_document(Document.read(fallback), [subject.replace(":", "-")])
    index = json.loads((layout.path / "index.json").read_bytes())
    index["manifests"] = [item for item in index["manifests"] if item["digest"] != under_tag]
    (layout.path / "index.json").write_text(json.dumps(index))
    shutil.copytree(layout.path, tmp_path / "taken in")
    with served(tmp_path / "taken in", name="a/b") as client:
        found = [item["digest"] for item in referrers(client, subject).json["manifests"]]
        assert found == sorted([listed, under_tag])
        assert client.ask("GET", f"/v2/a/b/manifests/{under_tag}").body == document.raw
    assert Descriptor.of(document.raw, MANIFEST).digest == under_tag
