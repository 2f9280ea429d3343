"""Signatures that real cosign made, relocated, and verified by real cosign where they arrived.

As a tag and as a referrer, out of a registry with the referrers API and one without, straight and through an archive,
into every kind of registry and our own.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from interop.conftest import asked, unique
from interop.programs import Program
from interop.registries import Registries
from support.command import succeed, succeed_here

pytestmark = pytest.mark.interop

# No transparency log and no service that says which one: nothing is asked beyond the registry.
_OFFLINE = ("--yes", "--allow-http-registry", "--use-signing-config=false", "--tlog-upload=false")
_TRUSTING = ("--allow-http-registry", "--insecure-ignore-tlog=true")
_SECRET = {"COSIGN_PASSWORD": "a password"}
_FORMS = ("tag", "bundle")


class Signer(NamedTuple):
    """cosign with a pair of keys."""

    cosign: Program
    keys: Path

    def sign(self, form: str, reference: str) -> None:
        self.cosign.run(
            "sign", *_OFFLINE, _form(form), "--key", self.keys / "ours.key", reference, cwd=self.keys, env=_SECRET
        )

    def accepts(self, form: str, reference: str, *, key: str = "ours") -> bool:
        """True if cosign finds a good signature by the key."""
        words = ("verify", *_TRUSTING, _form(form), "--key", self.keys / f"{key}.pub", reference)
        return self.cosign.attempt(*words, cwd=self.keys).returncode == 0


def _form(form: str) -> str:
    return f"--new-bundle-format={'true' if form == 'bundle' else 'false'}"


@pytest.fixture
def cosign(request: pytest.FixtureRequest) -> Program:
    return asked(request, "cosign")


@pytest.fixture
def signer(cosign: Program, tmp_path: Path) -> Signer:
    return signer_in(cosign, tmp_path / "keys")


def signer_in(cosign: Program, keys: Path) -> Signer:
    """A signer with new keys."""
    keys.mkdir()
    for name in ("ours", "others"):
        cosign.run("generate-key-pair", "--output-key-prefix", name, cwd=keys, env=_SECRET)
    return Signer(cosign, keys)


@pytest.mark.parametrize("origin", ["olareg-mem", "docker-registry"])
def test_what_cosign_signed_it_verifies_after_relocation(
    request: pytest.FixtureRequest,
    registries: Registries,
    host: str,
    origin: str,
    signer: Signer,
    sample: Path,
    tmp_path: Path,
) -> None:
    name = unique(request)
    source, straight, carried = f"{registries.get(origin).host}/{name}", f"{host}/{name}-straight", f"{host}/{name}-tar"
    for form in _FORMS:
        succeed("push", f"{source}:{form}", "config.json", "-a", f"form={form}", cwd=sample)
        signer.sign(form, _pinned(source, form))
    plan = ("relocate", "plan", f"{source}:*", "--map")
    succeed_here(*plan, f"{source}={straight}", "-o", "straight.json", cwd=tmp_path)
    succeed_here("relocate", "apply", "straight.json", "--require", "signature", cwd=tmp_path)
    succeed_here("relocate", "verify", "straight.json", "--deep", cwd=tmp_path)
    for form in _FORMS:
        archive = f"layout:{tmp_path}/{form}.tar"
        succeed_here("copy", f"{source}:{form}", archive)
        succeed_here("copy", f"{archive}:{form}", carried)
        succeed_here("copy", f"{archive}:{form}", f"{carried}-bare", "--related", "none")
        for place in (straight, carried):
            assert signer.accepts(form, f"{place}:{form}"), place
            assert not signer.accepts(form, f"{place}:{form}", key="others"), place
        assert not signer.accepts(form, f"{carried}-bare:{form}"), "nothing had to be found there"


def test_signatures_of_platforms_and_of_sboms_arrive(
    request: pytest.FixtureRequest,
    registries: Registries,
    host: str,
    signer: Signer,
    vectors: Path,
    tmp_path: Path,
) -> None:
    source, target = f"{registries.get('olareg-mem').host}/{unique(request)}", f"{host}/{unique(request)}"
    succeed("copy", f"layout:{vectors}/oras-layouts/artifacts:multi", source)
    tree = succeed("discover", f"{source}:multi", "--format", "json").json
    platforms = [child["digest"] for child in tree["manifests"] if child.get("referrers")]
    sboms = [each["digest"] for child in tree["manifests"] for each in child.get("referrers", ())]
    assert platforms
    assert sboms
    signed = [(form, digest) for form in _FORMS for digest in (platforms[0], sboms[0])]
    for form, digest in signed:
        signer.sign(form, f"{source}@{digest}")
    wish = ("relocate", "plan", f"{source}:multi", "--map", f"{source}=layout:store")
    succeed_here(*wish, "-o", "out.json", cwd=tmp_path)
    succeed_here("relocate", "apply", "out.json", cwd=tmp_path)
    succeed_here("copy", "layout:store:multi", "layout:store.tar", cwd=tmp_path)
    wish = ("relocate", "plan", "layout:store.tar:multi", "--map", f"layout:store.tar={target}")
    succeed_here(*wish, "-o", "in.json", cwd=tmp_path)
    succeed_here("relocate", "apply", "in.json", cwd=tmp_path)
    for form, digest in signed:
        assert signer.accepts(form, f"{target}@{digest}"), (form, digest)
        assert not signer.accepts(form, f"{target}@{digest}", key="others"), (form, digest)


def _pinned(repository: str, tag: str) -> str:
    return f"{repository}@{succeed('resolve', f'{repository}:{tag}').stdout.strip()}"
