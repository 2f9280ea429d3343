"""A certificate authority for tests, made by the `openssl` program; nothing of it is kept."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["Certificates", "make_certificates"]

_EXTENSIONS = """\
basicConstraints=critical,CA:FALSE
subjectAltName=IP:127.0.0.1,DNS:localhost
extendedKeyUsage=serverAuth,clientAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


@dataclass(frozen=True)
class Certificates:
    """The CA's certificate, and certificate and key of a server on 127.0.0.1."""

    ca: str
    server: tuple[str, str]


def make_certificates(directory: Path) -> Certificates:
    """A fresh CA and a server certificate by it; the test is skipped without `openssl`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the program openssl is not installed")
    (directory / "extensions").write_text(_EXTENSIONS)

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=directory, check=True, capture_output=True, timeout=60)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    ca = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    run("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", "-days", "2", *ca)
    run("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=test registry")
    sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
    run("x509", "-req", "-in", "server.csr", "-out", "server.pem", *sign)
    return Certificates(str(directory / "ca.pem"), (str(directory / "server.pem"), str(directory / "server.key")))
