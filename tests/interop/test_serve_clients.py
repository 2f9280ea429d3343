"""Other people's clients against `provender serve`: what they push comes back with the same digests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.programs import Program
from interop.registries import HTPASSWD, PASSWORD, USER
from interop.test_helm import write_chart
from interop.trees import tree
from support.command import succeed
from support.served import Client, Process, digest_of, server_process

pytestmark = pytest.mark.interop


@pytest.fixture(params=["store", "memory"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    store = [tmp_path / "store"] if request.param == "store" else []
    with server_process(tmp_path / "logs", *store) as process:
        yield process


def stored(server: Process, name: str, reference: str) -> tuple[str, bytes]:
    """The digest and the bytes of a manifest, by a plain request."""
    answer = server.client.ask("GET", f"/v2/{name}/manifests/{reference}")
    assert answer.status == 200, answer
    assert digest_of(answer.body) == answer.headers["docker-content-digest"]
    return digest_of(answer.body), answer.body


def no_failures(server: Process) -> None:
    """Nothing went wrong on our side. Some clients try TLS first, which is no HTTP."""
    lines = server.log.read_text().splitlines()
    bad = [line for line in lines if (" failure " in line or " warning " in line) and "Invalid HTTP" not in line]
    assert not bad


def push(oras: Program, server: Process, name: str, sample: Path) -> str:
    oras.run("push", "--plain-http", f"{server.host}/{name}:v1", "config.json", "empty", "schemas", cwd=sample)
    return stored(server, name, "v1")[0]


def test_oras(server: Process, sample: Path, tmp_path: Path, oras: Program) -> None:
    digest = push(oras, server, "oras/one", sample)
    here = f"{server.host}/oras/one"
    assert oras.run("resolve", "--plain-http", f"{here}:v1") == digest
    oras.run("pull", "--plain-http", f"{here}@{digest}", "-o", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(sample)
    for kind in ("application/vnd.test.sbom", "application/vnd.test.signature"):
        (tmp_path / "note.txt").write_text(kind)
        attach = ("attach", "--plain-http", f"{here}:v1", "--artifact-type", kind)
        oras.run(*attach, "note.txt:text/plain", cwd=tmp_path)
    found = json.loads(oras.run("discover", "--plain-http", f"{here}:v1", "--format", "json"))["referrers"]
    assert sorted(item["artifactType"] for item in found) == [
        "application/vnd.test.sbom",
        "application/vnd.test.signature",
    ]
    sbom = ("--artifact-type", "application/vnd.test.sbom", "--format", "json")
    one = json.loads(oras.run("discover", "--plain-http", f"{here}:v1", *sbom))["referrers"]
    assert [item["artifactType"] for item in one] == ["application/vnd.test.sbom"]
    there = f"{server.host}/oras/two"
    oras.run("cp", "-r", "--from-plain-http", "--to-plain-http", f"{here}:v1", f"{there}:v1")
    assert stored(server, "oras/two", "v1")[0] == digest
    copied = json.loads(oras.run("discover", "--plain-http", f"{there}:v1", "--format", "json"))["referrers"]
    assert sorted(item["digest"] for item in copied) == sorted(item["digest"] for item in found)
    assert oras.run("repo", "ls", "--plain-http", server.host).split() == ["oras/one", "oras/two"]
    oras.run("manifest", "delete", "--plain-http", "--force", f"{there}@{digest}")
    assert server.client.ask("GET", f"/v2/oras/two/manifests/{digest}").status == 404
    no_failures(server)


def test_flux(server: Process, sample: Path, tmp_path: Path, flux_artifact: Program) -> None:
    (sample / "schemas/link.json").unlink()  # Flux takes no links
    repository = f"{server.host}/flux/one"
    digest = flux_artifact.run("push", f"{repository}:v1", sample).rpartition("@")[2]
    assert stored(server, "flux/one", "v1")[0] == digest
    out = tmp_path / "out"
    out.mkdir()
    flux_artifact.run("pull", f"{repository}@{digest}", out)
    assert tree(out) == tree(sample)
    no_failures(server)


def test_crane(server: Process, sample: Path, tmp_path: Path, oras: Program, crane: Program) -> None:
    digest = push(oras, server, "crane/one", sample)
    here, there = f"{server.host}/crane/one", f"{server.host}/crane/two"
    assert crane.run("digest", f"{here}:v1") == digest
    crane.run("copy", f"{here}:v1", f"{there}:v2")
    assert stored(server, "crane/two", "v2")[0] == digest
    crane.run("pull", "--format", "oci", f"{here}:v1", tmp_path / "layout")
    crane.run("push", tmp_path / "layout", f"{server.host}/crane/three:v3")
    assert stored(server, "crane/three", "v3")[0] == digest
    assert crane.run("catalog", server.host).split() == ["crane/one", "crane/three", "crane/two"]
    crane.run("tag", f"{here}:v1", "another")
    assert crane.run("ls", here).split() == ["another", "v1"]
    crane.run("delete", f"{there}@{digest}")
    assert server.client.ask("HEAD", "/v2/crane/two/manifests/v2").status == 404
    no_failures(server)


def test_crane_pushes_an_image(server: Process, tmp_path: Path, crane: Program) -> None:
    (tmp_path / "file.txt").write_text("hello\n")
    import tarfile

    with tarfile.open(tmp_path / "layer.tar", "w") as archive:
        archive.add(tmp_path / "file.txt", "file.txt")
    here = f"{server.host}/crane/image"
    crane.run("append", "--oci-empty-base", "-f", tmp_path / "layer.tar", "-t", f"{here}:v1")
    crane.run("validate", "--remote", f"{here}:v1")
    crane.run("pull", f"{here}:v1", tmp_path / "image.tar")
    crane.run("push", tmp_path / "image.tar", f"{here}:v2")
    crane.run("validate", "--remote", f"{here}:v2")
    layers = [json.loads(stored(server, "crane/image", tag)[1])["layers"] for tag in ("v1", "v2")]
    assert [layer["digest"] for layer in layers[0]] == [layer["digest"] for layer in layers[1]]


def test_regctl(server: Process, sample: Path, tmp_path: Path, regctl: Program) -> None:
    host = ("--host", f"reg={server.host},tls=disabled")
    here, there = f"{server.host}/regctl/one", f"{server.host}/regctl/two"
    content = (sample / "config.json").read_bytes()
    put = ("artifact", "put", "--artifact-type", "application/vnd.test")
    regctl.run(*host, *put, f"{here}:v1", stdin=content)
    assert regctl.attempt(*host, "artifact", "get", f"{here}:v1").stdout == content
    digest, _ = stored(server, "regctl/one", "v1")
    regctl.run(*host, *put, "--subject", f"{here}:v1", stdin=b"a note")
    referrers = json.loads(regctl.run(*host, "artifact", "list", f"{here}:v1", "--format", "raw-body"))["manifests"]
    assert len(referrers) == 1
    regctl.run(*host, "image", "copy", "--referrers", f"{here}:v1", f"{there}:v1")
    assert stored(server, "regctl/two", "v1")[0] == digest
    copied = server.client.ask("GET", f"/v2/regctl/two/referrers/{digest}").json["manifests"]
    assert [item["digest"] for item in copied] == [item["digest"] for item in referrers]
    assert regctl.run(*host, "tag", "ls", here).split() == ["v1"]
    regctl.run(*host, "tag", "rm", f"{there}:v1")
    assert server.client.ask("GET", "/v2/regctl/two/manifests/v1").status == 404
    assert stored(server, "regctl/two", digest)[0] == digest
    # An image index with its referrers into a layout and back.
    regctl.run(*host, "index", "create", f"{here}:index", "--ref", f"{here}:v1")
    regctl.run(*host, "image", "copy", "--referrers", f"{here}:index", f"ocidir://{tmp_path / 'layout'}:index")
    regctl.run(
        *host, "image", "copy", "--referrers", f"ocidir://{tmp_path / 'layout'}:index", f"{server.host}/regctl/three:i"
    )
    assert stored(server, "regctl/three", "i") == stored(server, "regctl/one", "index")
    no_failures(server)


def test_skopeo(server: Process, sample: Path, tmp_path: Path, oras: Program, skopeo: Program) -> None:
    digest = push(oras, server, "skopeo/one", sample)
    here, there = f"docker://{server.host}/skopeo/one:v1", f"docker://{server.host}/skopeo/two:v2"
    tls = ("--insecure-policy", "copy", "--preserve-digests")
    skopeo.run(*tls, "--src-tls-verify=false", here, f"oci:{tmp_path / 'layout'}:v1")
    skopeo.run(*tls, "--dest-tls-verify=false", f"oci:{tmp_path / 'layout'}:v1", there)
    assert stored(server, "skopeo/two", "v2")[0] == digest
    raw = skopeo.attempt("inspect", "--raw", "--tls-verify=false", there).stdout
    assert digest_of(raw) == digest
    listed = json.loads(skopeo.run("list-tags", "--tls-verify=false", f"docker://{server.host}/skopeo/two"))
    assert listed["Tags"] == ["v2"]
    skopeo.run("delete", "--tls-verify=false", there)
    assert server.client.ask("GET", f"/v2/skopeo/two/manifests/{digest}").status == 404
    no_failures(server)


def test_helm(server: Process, tmp_path: Path, helm: Program) -> None:
    helm.run("package", write_chart(tmp_path / "source", "1.2.3+build.4"), "-d", tmp_path)
    package = tmp_path / "demo-1.2.3+build.4.tgz"
    helm.run("push", package, f"oci://{server.host}/charts", "--plain-http")
    pull = ("--version", "1.2.3+build.4", "--plain-http", "-d", tmp_path / "pulled")
    (tmp_path / "pulled").mkdir()
    helm.run("pull", f"oci://{server.host}/charts/demo", *pull)
    assert (tmp_path / "pulled" / package.name).read_bytes() == package.read_bytes()
    _, raw = stored(server, "charts/demo", "1.2.3_build.4")
    assert json.loads(raw)["layers"][0]["digest"] == digest_of(package.read_bytes())
    no_failures(server)


@pytest.mark.parametrize("scheme", ["htpasswd", "token"])
def test_clients_log_in(
    scheme: str, sample: Path, tmp_path: Path, oras: Program, crane: Program, skopeo: Program
) -> None:
    users = tmp_path / "htpasswd"
    users.write_text(HTPASSWD)
    with server_process(tmp_path / "logs", "--htpasswd", users, "--auth", scheme) as server:
        here = f"{server.host}/private/one"
        refused = oras.attempt("push", "--plain-http", f"{here}:v1", "config.json", cwd=sample)
        assert refused.returncode != 0
        oras.run("login", "--plain-http", server.host, "-u", USER, "--password-stdin", stdin=PASSWORD.encode())
        oras.run("push", "--plain-http", f"{here}:v1", "config.json", "schemas", cwd=sample)
        digest = oras.run("resolve", "--plain-http", f"{here}:v1")
        crane.run("copy", f"{here}:v1", f"{server.host}/private/two:v2")
        assert crane.run("catalog", server.host).split() == ["private/one", "private/two"]
        tls = ("--insecure-policy", "copy", "--preserve-digests", "--src-tls-verify=false")
        creds = ("--src-creds", f"{USER}:{PASSWORD}")
        skopeo.run(*tls, *creds, f"docker://{server.host}/private/two:v2", f"oci:{tmp_path / 'layout'}:v2")
        assert succeed("resolve", f"layout:{tmp_path / 'layout'}:v2").stdout.strip() == digest
        assert succeed("resolve", f"{here}:v1").stdout.strip() == digest
        no_failures(server)


def test_what_was_served_is_a_layout_for_everybody(
    sample: Path, tmp_path: Path, oras: Program, skopeo: Program, regctl: Program
) -> None:
    with server_process(tmp_path / "logs", tmp_path / "store") as server:
        digest = push(oras, server, "a/layout", sample)
        (tmp_path / "note.txt").write_text("a note")
        attach = ("--plain-http", "--artifact-type", "application/vnd.test")
        oras.run("attach", f"{server.host}/a/layout:v1", *attach, "note.txt:text/plain", cwd=tmp_path)
        listed = server.client.ask("GET", f"/v2/a/layout/referrers/{digest}").json["manifests"]
    path = tmp_path / "store" / "a" / "layout"
    assert json.loads(oras.run("manifest", "fetch", "--oci-layout", "--descriptor", f"{path}:v1"))["digest"] == digest
    found = json.loads(oras.run("discover", "--oci-layout", f"{path}:v1", "--format", "json"))["referrers"]
    assert [item["digest"] for item in found] == [item["digest"] for item in listed]
    oras.run("pull", "--oci-layout", f"{path}:v1", "-o", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(sample)
    assert digest_of(skopeo.attempt("inspect", "--raw", f"oci:{path}:v1").stdout) == digest
    assert regctl.run("manifest", "head", f"ocidir://{path}:v1") == digest


def test_the_layouts_of_others_are_served(
    sample: Path, tmp_path: Path, oras: Program, regctl: Program, crane: Program
) -> None:
    """oras keeps referrers untagged in the index, regctl under the fallback tag: the API lists both."""
    layout = tmp_path / "of-oras"
    oras.run("push", "--oci-layout", f"{layout}:v1", "config.json", "schemas", cwd=sample)
    (tmp_path / "note.txt").write_text("of oras")
    attach = ("--artifact-type", "application/vnd.test.one", "note.txt:text/plain")
    oras.run("attach", "--oci-layout", f"{layout}:v1", *attach, cwd=tmp_path)
    put = ("artifact", "put", "--artifact-type", "application/vnd.test.two", "--subject")
    regctl.run(*put, f"ocidir://{layout}:v1", stdin=b"of regctl")
    with server_process(tmp_path / "logs", layout, "--name", "of/others") as server:
        client: Client = server.client
        digest, _ = stored(server, "of/others", "v1")
        found = client.ask("GET", f"/v2/of/others/referrers/{digest}").json["manifests"]
        assert {item["artifactType"] for item in found} == {"application/vnd.test.one", "application/vnd.test.two"}
        assert crane.run("digest", f"{server.host}/of/others:v1") == digest
