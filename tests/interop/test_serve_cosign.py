"""cosign against `provender serve`: signatures with a key, as a tag and as a referrer, without any network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.conftest import asked
from interop.programs import Program
from support.served import Process, server_process

pytestmark = pytest.mark.interop

# No transparency log and no service that says which one: nothing is asked beyond the registry.
_OFFLINE = ("--yes", "--allow-http-registry", "--use-signing-config=false", "--tlog-upload=false")
_TRUSTING = ("--allow-http-registry", "--insecure-ignore-tlog=true")
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@pytest.fixture
def cosign(request: pytest.FixtureRequest) -> Program:
    return asked(request, "cosign")


@pytest.fixture(params=["store", "memory"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    store = [tmp_path / "store"] if request.param == "store" else []
    with server_process(tmp_path / "logs", *store) as process:
        yield process


@pytest.mark.parametrize("form", ["tag", "bundle"])
def test_cosign_signs_and_verifies_with_a_key(form: str, server: Process, tmp_path: Path, cosign: Program) -> None:
    secret = {"COSIGN_PASSWORD": "a password"}
    for name in ("ours", "others"):
        cosign.run("generate-key-pair", "--output-key-prefix", name, cwd=tmp_path, env=secret)
    digest = server.client.manifest("signed/one", "v1", [b"a layer"])
    reference = f"{server.host}/signed/one@{digest}"
    chosen = f"--new-bundle-format={'true' if form == 'bundle' else 'false'}"
    verify = ("verify", *_TRUSTING, chosen, reference)
    assert cosign.attempt(*verify, "--key", "ours.pub", cwd=tmp_path).returncode != 0
    cosign.run("sign", *_OFFLINE, chosen, "--key", "ours.key", reference, cwd=tmp_path, env=secret)
    assert digest in cosign.run(*verify, "--key", "ours.pub", cwd=tmp_path)
    assert cosign.attempt(*verify, "--key", "others.pub", cwd=tmp_path).returncode != 0
    referrers = server.client.ask("GET", f"/v2/signed/one/referrers/{digest}").json["manifests"]
    tags = server.client.ask("GET", "/v2/signed/one/tags/list").json["tags"]
    assert [item["artifactType"] for item in referrers] == ([_BUNDLE] if form == "bundle" else [])
    assert tags == (["v1"] if form == "bundle" else [f"{digest.replace(':', '-')}.sig", "v1"])
    lines = server.log.read_text().splitlines()
    assert not [line for line in lines if " failure " in line or (" warning " in line and "Invalid HTTP" not in line)]
