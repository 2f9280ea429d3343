from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from provender.errors import InvalidProject, Unavailable, Unsupported
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR
from provender.storage.registry import HttpTransport, NoCredentials, RegistryClient, Timing
from provender.storage.registry.tls import TlsSettings
from provender.storage.registry.transport import Request, TransportFailure
from support.certificates import Certificates
from support.registry import Delay, Redirect, Reset, SetHeader, TestRegistry


def client(
    transport: HttpTransport, host: str, *, plain_http: bool | None = None, ca: str | None = None
) -> RegistryClient:
    return RegistryClient(
        host,
        transport=transport,
        credentials=NoCredentials(),
        plain_http=plain_http,
        tls=TlsSettings(ca),
        timing=Timing(sleep=lambda _: None),
    )


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_connections_are_kept_and_encodings_declined(registry: TestRegistry) -> None:
    with HttpTransport({}) as transport:
        asking = client(transport, registry.host)
        for _ in range(5):
            asking.ping()
    assert registry.connections == 1
    assert {item.headers["accept-encoding"] for item in registry.requests} == {"identity"}
    assert registry.requests[0].headers["user-agent"].startswith("provender/")


def test_many_open_answers_never_wait_for_each_other(registry: TestRegistry) -> None:
    with HttpTransport({}, concurrency=1) as transport:
        request = Request(method="GET", url=f"{registry.url}/v2/")
        answers = [transport.send(request) for _ in range(4)]
        assert [answer.read() for answer in answers] == [b"{}"] * 4
        for answer in answers:
            answer.close()


def test_compressed_answers_are_not_unpacked(registry: TestRegistry) -> None:
    registry.fault(("GET", "/v2/"), action=SetHeader("Content-Encoding", "gzip"))
    with HttpTransport({}) as transport:
        answer = transport.send(Request(method="GET", url=f"{registry.url}/v2/"))
        assert answer.read() == b"{}"
        answer.close()


def test_a_trusted_ca_file_lets_tls_through(certificates: Certificates) -> None:
    with TestRegistry(tls=certificates.server) as registry, HttpTransport({}) as transport:
        client(transport, registry.host, plain_http=False, ca=certificates.ca).ping()


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_variables_for_ca_files_count(certificates: Certificates, name: str) -> None:
    with TestRegistry(tls=certificates.server) as registry, HttpTransport({name: certificates.ca}) as transport:
        client(transport, registry.host, plain_http=False).ping()


def test_an_unknown_ca_is_refused_with_a_hint(certificates: Certificates) -> None:
    with TestRegistry(tls=certificates.server) as registry, HttpTransport({}) as transport:
        with pytest.raises(Unavailable) as caught:
            client(transport, registry.host, plain_http=False).ping()
        assert caught.value.code == "connection-certificate"
        assert not caught.value.retryable
        assert "SSL_CERT_FILE" in str(caught.value.hint)
        assert registry.count() == 0


@pytest.mark.parametrize("setting", ["ca", "variable", "client"])
def test_an_unusable_certificate_file_is_named(setting: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("pem") / "ca.pem"
    path.write_text("no certificate")
    environ = {"SSL_CERT_FILE": str(path)} if setting == "variable" else {}
    tls = TlsSettings(
        ca=str(path) if setting == "ca" else None, client_certificate=str(path) if setting == "client" else None
    )
    with HttpTransport(environ) as transport, pytest.raises(InvalidProject) as caught:
        transport.send(Request(method="GET", url="https://127.0.0.1:1/", tls=tls))
    assert caught.value.where == str(path)


def test_client_certificates_stay_with_the_registry(certificates: Certificates) -> None:
    certificate, key = certificates.server
    settings = TlsSettings(ca=certificates.ca, client_certificate=certificate, client_key=key)
    with (
        TestRegistry(tls=certificates.server, client_ca=certificates.ca, needs_client=True) as registry,
        TestRegistry(tls=certificates.server, client_ca=certificates.ca) as thief,
        HttpTransport({}) as transport,
    ):
        thief.push_blob("acme/app", EMPTY_BYTES)
        target = f"{thief.url}/v2/acme/app/blobs/{EMPTY_DESCRIPTOR.digest}"
        registry.fault(("GET", "/blobs/"), action=Redirect(target))
        asking = RegistryClient(
            registry.host, transport=transport, credentials=NoCredentials(), plain_http=False, tls=settings
        )
        with asking.repository("acme/app").fetch(EMPTY_DESCRIPTOR) as reader:
            assert reader.read() == EMPTY_BYTES
        assert registry.shown_certificates == [True]
        assert thief.shown_certificates == [False]


def test_https_to_a_plain_registry_is_told_apart(registry: TestRegistry) -> None:
    with HttpTransport({}) as transport, pytest.raises(Unavailable) as caught:
        client(transport, registry.host, plain_http=False).ping()
    assert caught.value.code == "connection-not-tls"
    assert caught.value.hint == "the registry speaks plain HTTP: --plain-http"
    assert caught.value.exit_status == 69


def test_a_refused_connection_is_tried_four_times(closed_port: int) -> None:
    sleeps: list[float] = []
    with HttpTransport({}) as transport:
        asking = RegistryClient(
            f"127.0.0.1:{closed_port}",
            transport=transport,
            credentials=NoCredentials(),
            timing=Timing(sleep=sleeps.append, jitter=lambda most: most),
        )
        with pytest.raises(Unavailable) as caught:
            asking.ping()
    assert caught.value.code == "connection-connect"
    assert "refused" in caught.value.message
    assert caught.value.exit_status == 75
    assert sleeps == [0.5, 1, 2]


def test_a_silent_server_is_a_timeout(registry: TestRegistry) -> None:
    registry.fault(("GET", "/v2/"), action=Delay(20), times=9)
    with HttpTransport({}, read_timeout_s=0.2) as transport:
        with pytest.raises(TransportFailure) as caught:
            transport.send(Request(method="GET", url=f"{registry.url}/v2/"))
        assert caught.value.kind == "timeout"


def test_a_reset_before_the_answer_is_tried_again(registry: TestRegistry) -> None:
    registry.fault(("GET", "/v2/"), action=Reset(-1), times=2)
    with HttpTransport({}) as transport:
        client(transport, registry.host).ping()
    assert registry.count() == 3


class Proxy(ThreadingHTTPServer):
    """Notes what it is asked and answers in place of the target."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        self.asked: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        self.server.asked.append((self.command, self.path, self.headers.get("Proxy-Authorization")))
        self.send_response(407 if self.command == "CONNECT" else 200)
        self.send_header("Content-Length", "2")
        self.send_header("WWW-Authenticate", 'Bearer realm="https://token.example/"')
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.end_headers()
        self.wfile.write(b"{}")

    do_CONNECT = do_GET  # noqa: N815 (the name is the base class's)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the base class's)
        return


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    server = Proxy()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_plain_requests_go_through_the_proxy_with_its_credentials(proxy: Proxy) -> None:
    url = proxy.url.replace("//", "//me:hunter2@")
    with HttpTransport({"HTTP_PROXY": url}) as transport:
        client(transport, "registry.example", plain_http=True).ping()
    assert proxy.asked == [("GET", "http://registry.example/v2/", "Basic bWU6aHVudGVyMg==")]


def test_headers_that_come_twice_are_joined_behind_a_proxy_too(proxy: Proxy) -> None:
    with HttpTransport({"HTTP_PROXY": proxy.url}) as transport:
        answer = transport.send(Request(method="GET", url="http://registry.example/v2/"))
        answer.close()
    # Else the last one alone would be seen, and a password sent where a token is wanted.
    assert answer.headers["www-authenticate"] == 'Bearer realm="https://token.example/", Basic realm="x"'


def test_a_proxy_that_refuses_is_named(proxy: Proxy) -> None:
    with HttpTransport({"HTTPS_PROXY": proxy.url}) as transport, pytest.raises(Unavailable) as caught:
        client(transport, "registry.example").ping()
    assert caught.value.code == "connection-proxy"
    assert "HTTPS_PROXY" in str(caught.value.hint)
    assert proxy.asked[0][:2] == ("CONNECT", "registry.example:443")


def test_this_machine_is_reached_without_the_proxy(registry: TestRegistry, closed_port: int) -> None:
    with HttpTransport({"HTTP_PROXY": f"http://127.0.0.1:{closed_port}"}) as transport:
        client(transport, registry.host).ping()


@pytest.mark.parametrize(
    ("url", "error"), [("socks5://p:1", Unsupported), ("http://", InvalidProject), ("http://p:x", InvalidProject)]
)
def test_an_unusable_proxy_is_refused(url: str, error: type[Exception]) -> None:
    with HttpTransport({"HTTPS_PROXY": url}) as transport, pytest.raises(error):
        client(transport, "registry.example").ping()


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("localhost", "http://localhost"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ("registry.example", "https://registry.example"),
    ],
)
def test_only_this_machine_is_spoken_to_in_plain_http(host: str, origin: str) -> None:
    with HttpTransport({}) as transport:
        assert str(client(transport, host).repository("a").session.registry) == origin


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ["urllib3", "ssl", "subprocess", "http.client", "truststore", "tempfile", "email", "asyncio"]
    code = (
        "import sys, provender.storage.registry as r, provender.storage.registry.client, "
        "provender.storage.registry.credential_store\n"
        "r.HttpTransport({}), r.CredentialStore({}), r.NoCredentials()\n"
        f"sys.exit(', '.join(name for name in {heavy!r} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_names_what_it_has() -> None:
    import provender.storage.registry as package

    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError):
        package.__getattr__("Nothing")


def test_a_registry_may_be_given_more_time_to_answer() -> None:
    with TestRegistry() as registry, HttpTransport({}, read_timeout_s=0.05) as transport:
        registry.fault(("GET", "/v2/"), action=Delay(0.3))
        patient = RegistryClient(
            registry.host, transport=transport, credentials=NoCredentials(), plain_http=True, patience_s=60
        )
        assert not patient.ping()
        assert registry.count("GET", "/v2/") == 1
