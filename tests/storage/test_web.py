"""Plain downloads: redirects and credentials, retries, caps, and what each status means."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from provender.errors import Denied, IntegrityError, InvalidProject, NotFound, Unauthorized, Unavailable
from provender.storage.registry import HttpTransport
from provender.storage.registry.retry import RetryPolicy
from provender.storage.web import WebClient, basic_authorization

_BODY = b"some content " * 1000


class _Site:
    """A server whose answers are functions of the path; what it was asked is kept."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, self.headers.get("Authorization")))
                site.answers[self.path](self)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _answer(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return send


class _Kept:
    def __init__(self) -> None:
        self.content = b""
        self.starts = 0

    def write(self, chunk: bytes, /) -> object:
        self.content += chunk
        return None

    def restart(self) -> None:
        self.content = b""
        self.starts += 1


@pytest.fixture
def site() -> Iterator[_Site]:
    running = _Site()
    yield running
    running.stop()


@pytest.fixture
def web() -> Iterator[WebClient]:
    with HttpTransport({}) as transport:
        yield WebClient(transport, policy=RetryPolicy(base_s=0.001))


def test_a_body_arrives_hashed_and_counted(site: _Site, web: WebClient) -> None:
    site.answers["/a"] = _answer(200, _BODY)
    kept, seen = _Kept(), list[int]()
    found = web.download(f"{site.url}/a", kept, limit_bytes=1 << 20, tick=seen.append)
    assert kept.content == _BODY
    assert (found.size_bytes, found.sha256) == (len(_BODY), hashlib.sha256(_BODY).hexdigest())
    assert sum(seen) == len(_BODY)


def test_credentials_do_not_follow_a_redirect_to_another_origin(site: _Site, web: WebClient) -> None:
    other = _Site()
    try:
        site.answers["/a"] = _answer(302, Location=f"{other.url}/b")
        other.answers["/b"] = _answer(200, b"there")
        assert (
            web.content(f"{site.url}/a", limit_bytes=100, authorization=basic_authorization("ada", "secret"))
            == b"there"
        )
        assert site.asked == [("/a", f"Basic {base64.b64encode(b'ada:secret').decode()}")]
        assert other.asked == [("/b", None)]
    finally:
        other.stop()


def test_an_unavailable_server_is_asked_again(site: _Site, web: WebClient) -> None:
    waiting = [503, 502]

    def flaky(handler: BaseHTTPRequestHandler) -> None:
        _answer(waiting.pop() if waiting else 200, b"done")(handler)

    site.answers["/a"] = flaky
    assert web.content(f"{site.url}/a", limit_bytes=100) == b"done"
    assert len(site.asked) == 3


def test_a_body_that_breaks_off_begins_anew(site: _Site, web: WebClient) -> None:
    def broken(handler: BaseHTTPRequestHandler) -> None:
        is_first = len(site.asked) == 1
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(_BODY)))
        handler.end_headers()
        handler.wfile.write(_BODY[:500] if is_first else _BODY)
        if is_first:
            handler.close_connection = True

    site.answers["/a"] = broken
    kept = _Kept()
    web.download(f"{site.url}/a", kept, limit_bytes=1 << 20)
    assert kept.content == _BODY
    assert kept.starts == 2


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (410, NotFound), (401, Unauthorized), (403, Denied), (400, Unavailable)]
)
def test_a_status_that_is_no_answer_is_an_error(
    site: _Site, web: WebClient, status: int, kind: type[Exception]
) -> None:
    site.answers["/a"] = _answer(status, b"because")
    with pytest.raises(kind, match="because"):
        web.content(f"{site.url}/a", limit_bytes=100)
    assert len(site.asked) == 1


def test_a_body_over_the_limit_is_refused(site: _Site, web: WebClient) -> None:
    site.answers["/a"] = _answer(200, _BODY)
    with pytest.raises(IntegrityError) as caught:
        web.content(f"{site.url}/a", limit_bytes=100)
    assert caught.value.code == "too-large"


@pytest.mark.parametrize(
    "url", ["ftp://example.com/a", "file:///etc/passwd", "https://", "example.com/a", "http://a b/"]
)
def test_what_is_no_http_url_is_refused(web: WebClient, url: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        web.content(url, limit_bytes=100)
    assert caught.value.code == "invalid-url"


def test_json_that_is_none_is_unavailable(site: _Site, web: WebClient) -> None:
    site.answers["/a"] = _answer(200, b"<html>")
    with pytest.raises(Unavailable) as caught:
        web.json(f"{site.url}/a", limit_bytes=100)
    assert caught.value.code == "unusable-answer"


def _broken_once(body: bytes, *, etag: str, after: int, changed: bytes | None = None) -> Callable[..., None]:
    """An answer that breaks off once; then the rest if it is asked for, or other content with another tag."""
    served: list[str | None] = []

    def send(handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        served.append(wanted)
        content, tag = (body, etag) if len(served) == 1 or changed is None else (changed, '"other"')
        start = 0
        if wanted is not None and handler.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("ETag", tag)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start:after] if len(served) == 1 else content[start:])
        handler.close_connection = True

    send.served = served  # type: ignore[attr-defined]
    return send


@pytest.mark.parametrize(
    ("etag", "changed", "ranges"),
    [
        ('"a"', None, [None, "bytes=5000-"]),
        ('W/"a"', None, [None, None]),
        ('"a"', b"new " * 4000, [None, "bytes=5000-"]),
    ],
)
def test_after_a_break_the_rest_is_asked_for_if_it_is_the_same_file(
    site: _Site, etag: str, changed: bytes | None, ranges: list[str | None]
) -> None:
    answer = _broken_once(_BODY, etag=etag, after=5000, changed=changed)
    site.answers["/x"] = answer
    kept = _Kept()
    with HttpTransport({}) as transport:
        found = WebClient(transport, policy=RetryPolicy(base_s=0.01)).download(
            f"{site.url}/x", kept, limit_bytes=1 << 20
        )
    assert kept.content == (changed or _BODY)
    assert found.sha256 == hashlib.sha256(kept.content).hexdigest()
    assert found.size_bytes == len(kept.content)
    assert answer.served == ranges  # type: ignore[attr-defined]
