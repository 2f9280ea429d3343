"""F38: proxies and a network that opens TLS, as a user meets them: by the environment."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from provender.errors import Unavailable
from provender.storage.registry import (
    Credential,
    FixedCredential,
    HttpTransport,
    NoCredentials,
    RegistryClient,
    Timing,
)
from support.certificates import Certificates, make_certificates
from support.registry import TestRegistry


class _Proxy(ThreadingHTTPServer):
    """Notes what it is asked, and answers as a registry would, or 407."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.refuses = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(407 if self.server.refuses else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_CONNECT = do_GET  # noqa: N815 - the name is the base class's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        return


@pytest.fixture
def proxy() -> Iterator[_Proxy]:
    with _Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


class _Tunnels(StreamRequestHandler):
    """Opens the tunnel that is asked for, to the port on this machine, and passes what comes both ways."""

    server: _TunnelProxy

    def handle(self) -> None:
        lines: list[str] = []
        while (line := self.rfile.readline().decode("latin-1").strip()) != "":
            lines.append(line)
        self.server.asked.append(lines)
        port = int(lines[0].split()[1].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as target:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pass, args=(target, self.connection))
            back.start()
            _pass(self.connection, target)
            back.join(20)


class _TunnelProxy(ThreadingTCPServer):
    """A proxy for TLS: it sees where to, and nothing of what passes."""

    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnels)
        self.asked: list[list[str]] = []


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(64 << 10):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def tunnels() -> Iterator[_TunnelProxy]:
    with _TunnelProxy() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def ping(environ: dict[str, str], host: str, *, plain_http: bool) -> None:
    with HttpTransport(environ) as transport:
        RegistryClient(
            host,
            transport=transport,
            credentials=NoCredentials(),
            plain_http=plain_http,
            timing=Timing(sleep=lambda _: None),
        ).ping()


def test_f38_the_proxy_of_the_environment_is_used(proxy: _Proxy) -> None:
    ping({"HTTP_PROXY": proxy.url}, "registry.example", plain_http=True)
    assert proxy.asked == ["GET http://registry.example/v2/"]


def test_f38_no_proxy_is_obeyed(proxy: _Proxy) -> None:
    with pytest.raises(Unavailable) as caught:  # the name does not exist: it was asked for directly
        ping({"HTTP_PROXY": proxy.url, "NO_PROXY": ".invalid"}, "registry.invalid", plain_http=True)
    assert caught.value.code == "connection-dns"
    assert proxy.asked == []


def test_f38_tls_goes_through_a_tunnel_that_sees_no_credentials(
    tunnels: _TunnelProxy, certificates: Certificates
) -> None:
    with TestRegistry(tls=certificates.server, auth="token") as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        url = f"http://me:pass%20word@127.0.0.1:{tunnels.server_address[1]}"
        environ = {"HTTPS_PROXY": url, "SSL_CERT_FILE": certificates.ca}
        user = Credential(username=registry.username, secret=registry.password)
        with HttpTransport(environ, proxy_local=True) as transport:
            client = RegistryClient(
                registry.host,
                transport=transport,
                credentials=FixedCredential(registry.host, user),
                plain_http=False,
                timing=Timing(sleep=lambda _: None),
            )
            client.repository("acme/app").resolve("1.0")
        assert registry.count("GET", "^/token") == 1
        assert {lines[0].rpartition(" ")[0] for lines in tunnels.asked} == {f"CONNECT {registry.host}"}
        for lines in tunnels.asked:
            given = [
                line.partition(": ")[2] for line in lines if line.lower().startswith(("authoriz", "proxy-authoriz"))
            ]
            assert given == ["Basic " + base64.b64encode(b"me:pass word").decode()]


def test_f38_a_407_names_the_proxy_and_the_variables(proxy: _Proxy) -> None:
    proxy.refuses = True
    with pytest.raises(Unavailable) as caught:
        ping({"HTTPS_PROXY": proxy.url}, "registry.example", plain_http=False)
    assert caught.value.code == "connection-proxy"
    assert "407" in caught.value.message
    assert "HTTPS_PROXY" in str(caught.value.hint)


def test_f38_a_network_that_opens_tls_needs_its_ca(certificates: Certificates) -> None:
    with TestRegistry(tls=certificates.server) as registry:
        with pytest.raises(Unavailable) as caught:
            ping({}, registry.host, plain_http=False)
        assert caught.value.code == "connection-certificate"
        assert "SSL_CERT_FILE" in str(caught.value.hint)
        assert caught.value.exit_status == 69
        ping({"SSL_CERT_FILE": certificates.ca}, registry.host, plain_http=False)
        assert registry.count("GET", "^/v2/$") == 1
