"""The same content carried by us and by regctl, oras, crane and skopeo, in turn: each finds what the others carried."""

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

# Tag of the vectors -> what belongs to it at any depth, by the beginnings of digests that SOURCES.md names.
VECTORS = {
    "foobar": {"e2c6633a", "0cb8c4da"},
    "multi": {"d37baf66", "7679bc22", "c5e00045"},
    "v1.3.8": {"20e7d3a6", "359bac7f", "938419ae"},
}


@pytest.fixture
def related(tmp_path: Path) -> LayoutStorage:
    """A layout with every kind of related content, digest tags too."""
    layout = LayoutStorage(tmp_path / "family", create=True)
    family(layout)
    return layout


def _regctl(regctl: Program, place: str, *arguments: str) -> str:
    return regctl.run("--host", f"reg={place.partition('/')[0]},tls=disabled", *arguments)


def _below(reference: str) -> set[str]:
    """Everything that we find below a reference."""
    return _digests(succeed("discover", reference, "--format", "json").json)


def _digests(node: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for each in (*node.get("referrers", ()), *node.get("manifests", ())):
        found |= {each["digest"], *_digests(each)}
    return found


def test_what_regctl_carries_on_is_what_we_carried(
    related: LayoutStorage, place: str, tmp_path: Path, regctl: Program
) -> None:
    source = f"layout:{related.path}:1.0"
    expected = relations(walk(related, "1.0"))
    succeed("relocate", "plan", source, "--map", f"layout:{related.path}={place}", "-o", "1.json", cwd=tmp_path)
    succeed("relocate", "apply", "1.json", cwd=tmp_path)
    everything = ("image", "copy", "--referrers", "--digest-tags")
    _regctl(regctl, place, *everything, f"{place}:1.0", f"{place}-regctl:1.0")
    _regctl(regctl, place, *everything, f"{place}-regctl:1.0", f"ocidir://{tmp_path}/regctl:1.0")
    assert relations(walk(LayoutStorage(tmp_path / "regctl"), "1.0")) == expected
    succeed("copy", f"{place}-regctl:1.0", f"layout:{tmp_path}/from-registry")
    assert relations(walk(LayoutStorage(tmp_path / "from-registry"), "1.0")) == expected
    # And on from regctl's layout, by a plan.
    plan = ("relocate", "plan", f"layout:{tmp_path}/regctl:*", "--map", f"layout:{tmp_path}/regctl={place}-back")
    succeed(*plan, "-o", "2.json", cwd=tmp_path)
    succeed("relocate", "apply", "2.json", cwd=tmp_path)
    assert _below(f"{place}-back:1.0") == _below(source)


@pytest.mark.parametrize("tag", VECTORS)
def test_oras_and_regctl_find_the_graph_in_our_layouts(
    vectors: Path, tmp_path: Path, oras: Program, regctl: Program, tag: str
) -> None:
    source = f"layout:{vectors}/oras-layouts/artifacts:{tag}"
    succeed("copy", source, f"layout:{tmp_path}/plain")
    succeed("copy", source, f"layout:{tmp_path}/tagged", "--referrers-tags")
    expected = {f"sha256:{each}" for each in VECTORS[tag]}
    slowly = regctl.run("artifact", "tree", "--slow-referrers", f"ocidir://{tmp_path}/plain:{tag}")
    assert all(each in slowly for each in expected)
    assert all(each in regctl.run("artifact", "tree", f"ocidir://{tmp_path}/tagged:{tag}") for each in expected)
    root = succeed("resolve", source).stdout.strip()
    owners = [root, *(each["digest"] for each in _node(source).get("manifests", ()))]
    for layout in ("plain", "tagged"):
        found = set[str]()
        for owner in owners:
            said = oras.run("discover", "--oci-layout", "--format", "json", f"{tmp_path}/{layout}@{owner}")
            found |= _digests(json.loads(said))
        assert all(any(digest.startswith(each) for digest in found) for each in expected), layout
        assert _below(f"layout:{tmp_path}/{layout}:{tag}") == _below(source)
    oras.run("cp", "-r", "--from-oci-layout", "--to-oci-layout", f"{tmp_path}/tagged:{tag}", f"{tmp_path}/oras:{tag}")
    assert _below(f"layout:{tmp_path}/oras:{tag}") == _below(source)


def test_a_layout_of_regctl_stays_whole_for_it_when_we_add_to_it(
    vectors: Path, place: str, tmp_path: Path, regctl: Program
) -> None:
    succeed("copy", f"layout:{vectors}/oras-layouts/artifacts:foobar", place)
    _regctl(regctl, place, "image", "copy", "--referrers", f"{place}:foobar", f"ocidir://{tmp_path}/regctl:foobar")
    layout = f"layout:{tmp_path}/regctl:foobar"
    attached = succeed("attach", layout, "--artifact-type", SBOM, "-a", "k=v", "--format", "json").json["digest"]
    succeed("attach", f"{place}:foobar", "--artifact-type", SBOM, "-a", "k=w")
    succeed("copy", f"{place}:foobar", f"layout:{tmp_path}/regctl")
    shown = regctl.run("artifact", "tree", f"ocidir://{tmp_path}/regctl:foobar")
    assert attached in shown
    assert all(digest in shown for digest in _below(layout))
    assert len(_below(layout)) == 4


def test_crane_and_skopeo_write_what_we_relocate_and_read_what_we_relocated(
    vectors: Path, place: str, tmp_path: Path, crane: Program, skopeo: Program
) -> None:
    succeed("copy", f"layout:{vectors}/oras-layouts/images:multi", f"layout:{tmp_path}/ours", "--related", "none")
    digest = succeed("resolve", f"layout:{tmp_path}/ours:multi").stdout.strip()
    options = ("--insecure-policy", "copy", "--all", "--preserve-digests")
    skopeo.run(*options, "--dest-tls-verify=false", f"oci:{tmp_path}/ours:multi", f"docker://{place}:skopeo")
    crane.run("copy", f"{place}:skopeo", f"{place}:crane")
    wishes = [f"{place}:{tag}" for tag in ("skopeo", "crane")]
    succeed("relocate", "plan", *wishes, "--map", f"{place}={place}-on", "-o", "plan.json", cwd=tmp_path)
    succeed("relocate", "apply", "plan.json", cwd=tmp_path)
    succeed("relocate", "verify", "plan.json", "--deep", cwd=tmp_path)
    for tag in ("skopeo", "crane"):
        assert crane.run("digest", f"{place}-on:{tag}") == digest
        skopeo.run(*options, "--src-tls-verify=false", f"docker://{place}-on:{tag}", f"oci:{tmp_path}/back:{tag}")
        assert succeed("resolve", f"layout:{tmp_path}/back:{tag}").stdout.strip() == digest
    crane.run("pull", "--format", "oci", f"{place}-on:crane", tmp_path / "crane")
    assert succeed("resolve", f"layout:{tmp_path}/crane@{digest}").stdout.strip() == digest


def _node(reference: str) -> dict[str, Any]:
    return dict(succeed("discover", reference, "--format", "json").json)
