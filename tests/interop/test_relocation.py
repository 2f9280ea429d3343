"""What belongs to an artifact, carried between registries and layouts: the same graph for us, oras and regctl.

Registries with the referrers API (olareg, zot where it is, our own) and without it (docker-registry, distribution).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interop.programs import Program
from provender.storage.layout import LayoutStorage
from support.command import succeed
from support.graphs import SBOM, family, relations, walk

pytestmark = pytest.mark.interop

PINNED = ("--annotation", "org.opencontainers.image.created=2020-01-01T00:00:00Z")

# Tag of the vectors -> its digest and what belongs to it, whose digests SOURCES.md names by their beginnings.
VECTORS = {
    "foobar": ("fd6ed2f3", {"e2c6633a", "0cb8c4da"}),
    "multi": ("e2bfc9cc", {"d37baf66", "7679bc22", "c5e00045"}),
    "v1.3.8": ("553c18ec", {"20e7d3a6", "359bac7f", "938419ae"}),
}


def discover(reference: str) -> dict[str, Any]:
    return dict(succeed("discover", reference, "--format", "json").json)


def below(node: dict[str, Any]) -> set[str]:
    """The digests of everything that belongs to a node, at any depth, children too."""
    found: set[str] = set()
    for each in (*node.get("referrers", ()), *node.get("manifests", ())):
        found |= {each["digest"], *below(each)}
    return found


def bare(node: dict[str, Any]) -> dict[str, Any]:
    """A tree without names of places and routes, to compare."""
    kept = {key: node.get(key) for key in ("digest", "mediaType", "size", "artifactType", "annotations", "kind", "tag")}
    branches = {
        key: sorted((bare(each) for each in node.get(key) or ()), key=lambda each: str(each["digest"]))
        for key in ("referrers", "manifests")
    }
    return {**kept, **branches}


def oras_tree(oras: Program, reference: str, *options: str) -> set[str]:
    """What oras finds below a reference."""
    plain = () if "--oci-layout" in options else ("--plain-http",)
    return below(json.loads(oras.run("discover", *plain, *options, "--format", "json", reference)))


def regctl_run(regctl: Program, host: str, *arguments: str) -> str:
    return regctl.run("--host", f"reg={host},tls=disabled", *arguments)


def starts(digests: set[str], beginnings: set[str]) -> bool:
    return all(any(digest.startswith(f"sha256:{each}") for digest in digests) for each in beginnings)


@pytest.mark.parametrize("tag", VECTORS)
def test_the_vectors_keep_their_graph_from_layout_to_registry_to_layout(
    vectors: Path, place: str, tmp_path: Path, oras: Program, regctl: Program, tag: str
) -> None:
    beginning, expected = VECTORS[tag]
    source = f"layout:{vectors}/oras-layouts/artifacts:{tag}"
    before = discover(source)
    assert before["digest"].startswith(f"sha256:{beginning}")
    assert starts(below(before), expected)
    succeed("copy", source, place)
    there = discover(f"{place}:{tag}")
    assert bare(there) == bare(before)
    host = place.partition("/")[0]
    # regctl shows the whole tree, children of indexes included; oras what refers to one manifest.
    shown = regctl_run(regctl, host, "artifact", "tree", f"{place}:{tag}")
    assert all(f"sha256:{each}" in shown for each in expected), shown
    for owner in [before, *before.get("manifests", ())]:
        direct = {each["digest"] for each in owner.get("referrers", ())}
        assert direct <= oras_tree(oras, f"{place}@{owner['digest']}")
    succeed("copy", f"{place}:{tag}", f"layout:{tmp_path}/back")
    assert bare(discover(f"layout:{tmp_path}/back:{tag}")) == bare(before)
    assert {each["digest"] for each in before["referrers"]} <= oras_tree(oras, f"{tmp_path}/back:{tag}", "--oci-layout")


def test_one_platform_brings_what_belongs_to_it_and_not_the_index(vectors: Path, place: str, oras: Program) -> None:
    succeed("copy", f"layout:{vectors}/oras-layouts/artifacts:multi", place, "--platform", "linux/amd64")
    found = oras_tree(oras, f"{place}:multi")
    assert starts(found, {"c5e00045"})
    index = succeed("resolve", f"layout:{vectors}/oras-layouts/artifacts:multi").stdout.strip()
    assert oras.attempt("manifest", "fetch", "--plain-http", f"{place}@{index}").returncode != 0


@pytest.fixture
def related(tmp_path: Path) -> str:
    """A layout with every kind of related content, digest tags too."""
    layout = LayoutStorage(tmp_path / "family", create=True)
    family(layout)
    return f"layout:{tmp_path / 'family'}:1.0"


def test_digest_tags_and_attestations_arrive_for_regctl(
    related: str, place: str, tmp_path: Path, regctl: Program
) -> None:
    succeed("copy", related, place)
    before = discover(related)
    shown = regctl_run(regctl, place.partition("/")[0], "artifact", "tree", "--digest-tags", f"{place}:1.0")
    missing = [digest for digest in below(before) if digest not in shown]
    assert missing == [], shown
    # A second time there is nothing to do.
    report = succeed("copy", related, place, "--format", "json").json
    assert {node["action"] for node in report["nodes"]} == {"present"}
    succeed("copy", f"{place}:1.0", f"layout:{tmp_path}/back")
    first, second = LayoutStorage(tmp_path / "family"), LayoutStorage(tmp_path / "back")
    assert relations(walk(first, "1.0")) == relations(walk(second, "1.0"))


def test_what_regctl_copies_we_find(related: str, place: str, tmp_path: Path, regctl: Program) -> None:
    succeed("copy", related, place)
    before = bare(discover(related))
    host = place.partition("/")[0]
    options = ("image", "copy", "--referrers", "--digest-tags", f"{place}:1.0")
    regctl_run(regctl, host, *options, f"{place}-regctl:1.0")
    assert bare(discover(f"{place}-regctl:1.0")) == before
    # Its layouts have the other dialect: fallback tags.
    regctl_run(regctl, host, *options, f"ocidir://{tmp_path}/regctl:1.0")
    assert bare(discover(f"layout:{tmp_path}/regctl:1.0")) == before
    succeed("copy", f"layout:{tmp_path}/regctl:1.0", f"{place}-again")
    assert bare(discover(f"{place}-again:1.0")) == before


def test_what_oras_attaches_and_copies_we_find_and_carry_on(
    place: str, sample: Path, tmp_path: Path, oras: Program
) -> None:
    oras.run("push", "--plain-http", f"{place}:1.0", "config.json", *PINNED, cwd=sample)
    attach = ("attach", "--plain-http", *PINNED, "--format", "json", "--artifact-type")
    sbom = json.loads(oras.run(*attach, SBOM, f"{place}:1.0", "config.json", cwd=sample))["digest"]
    signature = json.loads(oras.run(*attach, "application/vnd.x.sig", f"{place}@{sbom}", "config.json", cwd=sample))
    expected = {sbom, signature["digest"]}
    assert below(discover(f"{place}:1.0")) == expected
    succeed("copy", f"{place}:1.0", f"{place}-copy")
    assert oras_tree(oras, f"{place}-copy:1.0") == expected
    oras.run("cp", "-r", "--from-plain-http", "--to-oci-layout", f"{place}:1.0", f"{tmp_path}/oras:1.0")
    assert below(discover(f"layout:{tmp_path}/oras:1.0")) == expected
    succeed("copy", f"layout:{tmp_path}/oras:1.0", f"layout:{tmp_path}/ours")
    assert oras_tree(oras, f"{tmp_path}/ours:1.0", "--oci-layout") == expected
    oras.run("cp", "-r", "--from-oci-layout", "--to-plain-http", f"{tmp_path}/ours:1.0", f"{place}-back:1.0")
    assert bare(discover(f"{place}-back:1.0")) == bare(discover(f"{place}:1.0"))


def test_what_we_attach_oras_and_regctl_find(place: str, sample: Path, oras: Program, regctl: Program) -> None:
    succeed("push", f"{place}:1.0", "config.json", cwd=sample)
    attached = succeed(
        "attach", f"{place}:1.0", "config.json", "--artifact-type", SBOM, "-a", "k=v", "--format", "json", cwd=sample
    ).json
    second = succeed(
        "attach", f"{place}:1.0", "--artifact-type", "application/vnd.x.note", "-a", "k=w", "--format", "json"
    ).json
    found = json.loads(oras.run("discover", "--plain-http", "--format", "json", f"{place}:1.0"))["referrers"]
    assert {(each["digest"], each["artifactType"], each["annotations"]["k"]) for each in found} == {
        (attached["digest"], SBOM, "v"),
        (second["digest"], "application/vnd.x.note", "w"),
    }
    shown = regctl_run(regctl, place.partition("/")[0], "artifact", "list", f"{place}:1.0")
    assert attached["digest"] in shown
    assert second["digest"] in shown
    # What we attach beside what oras attached leaves that alone.
    oras.run(
        "attach",
        "--plain-http",
        *PINNED,
        "--artifact-type",
        "application/vnd.y",
        f"{place}:1.0",
        "config.json",
        cwd=sample,
    )
    assert len(oras_tree(oras, f"{place}:1.0")) == 3
    assert below(discover(f"{place}:1.0")) == oras_tree(oras, f"{place}:1.0")


def test_crane_and_skopeo_read_what_we_copied_and_we_what_they_did(
    vectors: Path, place: str, tmp_path: Path, crane: Program, skopeo: Program
) -> None:
    succeed("copy", f"layout:{vectors}/oras-layouts/artifacts:v1.3.8", place)
    digest = succeed("resolve", f"{place}:v1.3.8").stdout.strip()
    assert crane.run("digest", f"{place}:v1.3.8") == digest
    crane.run("pull", "--format", "oci", f"{place}:v1.3.8", tmp_path / "crane")
    assert succeed("resolve", f"layout:{tmp_path}/crane@{digest}").stdout.strip() == digest
    options = ("--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false")
    skopeo.run(*options, f"docker://{place}:v1.3.8", f"oci:{tmp_path}/skopeo:v1.3.8")
    assert succeed("resolve", f"layout:{tmp_path}/skopeo:v1.3.8").stdout.strip() == digest
    crane.run("copy", f"{place}:v1.3.8", f"{place}-crane:v1.3.8")
    # Neither takes along what belongs to it: we add that from the source, and send no blob of the image again.
    assert below(discover(f"{place}-crane:v1.3.8")) == set()
    report = succeed("copy", f"{place}:v1.3.8", f"{place}-crane", "--format", "json").json
    roles = {node["role"]: set[str]() for node in report["nodes"]}
    for node in report["nodes"]:
        roles[node["role"]].add(node["action"])
    assert roles["root"] == roles["child"] == {"present"}
    assert roles["referrer"] == {"copied"}
    assert below(discover(f"{place}-crane:v1.3.8")) == below(discover(f"{place}:v1.3.8"))


def test_an_index_has_the_bytes_that_oras_gives_it(vectors: Path, place: str, oras: Program) -> None:
    succeed("copy", f"layout:{vectors}/oras-layouts/images:multi", place)
    children = [
        child["digest"] for child in succeed("show", f"{place}:multi", "--format", "json").json["content"]["manifests"]
    ]
    oras.run("manifest", "index", "create", "--plain-http", f"{place}:oras", *children)
    ours = succeed("index", "create", f"{place}:ours", *children, "--format", "json").json
    assert succeed("resolve", f"{place}:oras").stdout.strip() == ours["digest"]
    oras.run("manifest", "index", "update", "--plain-http", f"{place}:oras", "--remove", children[0])
    updated = succeed("index", "update", f"{place}:ours", "--remove", children[0], "--format", "json").json
    assert succeed("resolve", f"{place}:oras").stdout.strip() == updated["digest"]


def test_what_is_deleted_leaves_the_list_of_referrers(place: str, sample: Path, oras: Program) -> None:
    succeed("push", f"{place}:1.0", "config.json", cwd=sample)
    arguments = ("--artifact-type", SBOM, "--format", "json")
    first = succeed("attach", f"{place}:1.0", "config.json", *arguments, cwd=sample).json["digest"]
    second = succeed("attach", f"{place}:1.0", "-a", "k=v", *arguments).json["digest"]
    succeed("delete", f"{place}@{first}", "--force")
    assert oras_tree(oras, f"{place}:1.0") == below(discover(f"{place}:1.0")) == {second}


def test_archives_are_restored_by_oras_and_read_from_oras(
    vectors: Path, place: str, tmp_path: Path, oras: Program
) -> None:
    source = f"layout:{vectors}/oras-layouts/artifacts:v1.3.8"
    before = bare(discover(source))
    succeed("copy", source, f"layout:{tmp_path}/ours.tar")
    oras.run("restore", "--plain-http", "--input", tmp_path / "ours.tar", f"{place}:v1.3.8")
    assert bare(discover(f"{place}:v1.3.8")) == before
    oras.run("backup", "--plain-http", "--include-referrers", "--output", tmp_path / "theirs.tar", f"{place}:v1.3.8")
    succeed("copy", f"layout:{tmp_path}/theirs.tar:v1.3.8", f"{place}-back")
    assert bare(discover(f"{place}-back:v1.3.8")) == before


def test_skopeo_and_regctl_read_our_archives(
    vectors: Path, place: str, tmp_path: Path, skopeo: Program, regctl: Program
) -> None:
    source = f"layout:{vectors}/oras-layouts/artifacts:v1.3.8"
    digest = succeed("resolve", source).stdout.strip()
    archive = tmp_path / "ours.tar"
    succeed("copy", source, f"layout:{archive}")
    regctl_run(regctl, place.partition("/")[0], "image", "import", "--name", "v1.3.8", f"{place}:v1.3.8", str(archive))
    assert succeed("resolve", f"{place}:v1.3.8").stdout.strip() == digest
    options = ("--insecure-policy", "copy", "--all", "--preserve-digests")
    skopeo.run(*options, f"oci-archive:{archive}:v1.3.8", f"oci:{tmp_path}/skopeo:v1.3.8")
    assert succeed("resolve", f"layout:{tmp_path}/skopeo:v1.3.8").stdout.strip() == digest
