"""What the server says: one line for each request and for the figures, as text or JSON, whatever a client sends."""

from __future__ import annotations

import json
from pathlib import Path

from support.served import server_process


def test_lines_of_text_hold_no_control_characters(tmp_path: Path) -> None:
    with server_process(tmp_path / "logs") as server:
        server.client.ask("GET", "/v2/a%0a%1b[31mb/tags/list", user_agent='bad" agent \xe9')
        server.client.ask("GET", "/v2/")
    text = server.log.read_text()
    assert text.isascii()
    assert "\x1b" not in text
    assert [line.split(" ")[1] for line in text.splitlines() if line[:2] == "20"] == ["request", "request", "metrics"]
    assert "path=/v2/a%0A%1B%5B31mb/tags/list status=400" in text


def test_lines_of_json_are_documents(tmp_path: Path) -> None:
    with server_process(tmp_path / "logs", "--log-format", "json") as server:
        digest = server.client.blob("a", b"content")
        server.client.ask("GET", f"/v2/a/blobs/{digest}")
        server.client.ask("GET", "/v2/a/manifests/none")
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["kind"] == "request"]
    assert [(line["method"], line["status"]) for line in requests] == [("POST", 201), ("GET", 200), ("GET", 404)]
    assert requests[0]["received"] == requests[1]["sent"] == 7
    [figures] = [line for line in lines if line["kind"] == "metrics"]
    assert (figures["requests"], figures["ok"], figures["refused"], figures["failed"]) == (3, 2, 1, 0)


def test_requests_are_not_logged_where_that_was_said(tmp_path: Path) -> None:
    with server_process(tmp_path / "logs", "--no-access-log") as server:
        server.client.ask("GET", "/v2/")
    assert " request " not in server.log.read_text()
    assert " metrics " in server.log.read_text()
