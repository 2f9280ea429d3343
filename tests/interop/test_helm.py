"""Charts that Helm itself packed and pushed: the chart is laid down, its provenance file is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interop.programs import Program
from interop.projects import Project
from interop.trees import tree, tree_digest
from support.command import succeed

pytestmark = pytest.mark.interop

PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"


def write_chart(directory: Path, version: str) -> Path:
    files = {
        "Chart.yaml": f"apiVersion: v2\nname: demo\nversion: {version}\ndescription: A chart\ntype: application\n",
        "values.yaml": "replicas: 1\n",
        "templates/map.yaml": "kind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n",
        "templates/_names.tpl": '{{ define "name" }}demo{{ end }}\n',
    }
    for name, content in files.items():
        path = directory / "demo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return directory / "demo"


def publish(helm: Program, repository: str, work: Path, version: str, *, provenance: bool) -> None:
    """Pack the chart and push it; `repository` without the chart's name, which Helm adds."""
    helm.run("package", write_chart(work / "source", version), "-d", work)
    package = work / f"demo-{version}.tgz"
    if provenance:
        package.with_name(f"{package.name}.prov").write_text("-----BEGIN PGP SIGNED MESSAGE-----\n")
    helm.run("push", package, f"oci://{repository}", "--plain-http")


@pytest.mark.parametrize("provenance", [False, True], ids=["chart-alone", "with-provenance"])
def test_a_chart_is_synced_as_helm_pulls_it(
    repository: str, tmp_path: Path, helm: Program, crane: Program, provenance: bool
) -> None:
    publish(helm, repository, tmp_path, "1.2.3", provenance=provenance)
    layers = json.loads(crane.run("manifest", f"{repository}/demo:1.2.3"))["layers"]
    assert (PROVENANCE in {layer["mediaType"] for layer in layers}) is provenance
    theirs = ("--version", "1.2.3", "--plain-http", "--untar", "-d", tmp_path / "theirs")
    helm.run("pull", f"oci://{repository}/demo", *theirs)
    project = Project(tmp_path / "project", {"chart": f"{repository}/demo:1.2.3"})
    project.succeed("sync")
    assert tree(project.vendor("chart")) == tree(tmp_path / "theirs")
    entry = project.locked("chart")
    assert entry["digest"] == crane.run("digest", f"{repository}/demo:1.2.3")
    assert entry["artifactType"] == "application/vnd.cncf.helm.config.v1+json"
    assert entry["tree"] == tree_digest(tmp_path / "theirs")
    succeed("pull", f"{repository}/demo:1.2.3", "-o", tmp_path / "pulled")
    assert tree(tmp_path / "pulled") == tree(tmp_path / "theirs")


def test_a_range_finds_the_version_that_helm_wrote_with_an_underscore(
    repository: str, tmp_path: Path, helm: Program
) -> None:
    for version in ("1.2.0", "1.10.0+build.7", "2.0.0"):
        publish(helm, repository, tmp_path / version, version, provenance=False)
    dependency = {"oci": f"{repository}/demo", "version": ">=1.2, <2", "root": "demo"}
    project = Project(tmp_path / "project", {"chart": dependency})
    project.succeed("sync")
    assert project.locked("chart")["tag"] == "1.10.0_build.7"
    assert "1.10.0+build.7" in (project.vendor("chart") / "Chart.yaml").read_text()
