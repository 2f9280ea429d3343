"""A client that costs little: `python -I bench/plain_client.py put|get|small HOST ...`, over sockets of its own.

put HOST REPOSITORY FILE          push the file as a blob and print its digest
get HOST REPOSITORY DIGEST        read the blob and drop it
small HOST REPOSITORY COUNT DIGEST...   so many GETs of small blobs, one after the other, on four connections
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

_CONNECTIONS = 4
_PIECE = 1 << 20


def main(what: str, host: str, repository: str, *rest: str) -> None:
    """Run one command; any answer but the right one ends it."""
    if what == "put":
        print(put(host, repository, Path(rest[0])))
    elif what == "get":
        get(host, repository, rest[0])
    else:
        small(host, repository, int(rest[0]), rest[1:])


def put(host: str, repository: str, path: Path) -> str:
    """POST, then PUT of the file's bytes, which the system copies to the socket."""
    noted = path.with_suffix(".digest")  # made once: the client's hashing is not what is measured
    if not noted.exists():
        with path.open("rb") as file:
            noted.write_text(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")
    digest = noted.read_text()
    connection = http.client.HTTPConnection(host, timeout=120)
    connection.request("POST", f"/v2/{repository}/blobs/uploads/", b"")
    opened = connection.getresponse()
    opened.read()
    place = urlsplit(opened.getheader("Location") or "")
    query = f"{place.query}&digest={digest}" if place.query else f"digest={digest}"
    connection.putrequest("PUT", f"{place.path}?{query}")
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", str(path.stat().st_size))
    connection.endheaders()
    with path.open("rb") as file:
        connection.sock.sendfile(file)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 201:
        raise SystemExit(f"PUT: {answer.status}")
    return digest


def get(host: str, repository: str, digest: str) -> None:
    """One GET, read into the same buffer again and again."""
    connection = http.client.HTTPConnection(host, timeout=120)
    connection.request("GET", f"/v2/{repository}/blobs/{digest}")
    answer = connection.getresponse()
    buffer, left = bytearray(_PIECE), int(answer.getheader("Content-Length") or 0)
    while size := answer.readinto(buffer):
        left -= size
    if answer.status != 200 or left:
        raise SystemExit(f"GET: {answer.status}, {left} bytes are missing")


def small(host: str, repository: str, count: int, digests: tuple[str, ...]) -> None:
    """`count` GETs, shared among the connections."""
    failures: list[str] = []

    def work(first: int) -> None:
        name, port = host.split(":")
        with socket.create_connection((name, int(port)), timeout=60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in range(first, count, _CONNECTIONS):
                target = f"/v2/{repository}/blobs/{digests[number % len(digests)]}"
                connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                if not _whole(connection):
                    failures.append(target)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"{len(failures)} GETs failed, the first: {failures[0]}")


def _whole(connection: socket.socket) -> bool:
    """Read one answer to its end; false if it is not 200."""
    head = b""
    while b"\r\n\r\n" not in head:
        if not (piece := connection.recv(65536)):
            return False
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    left = next(int(line[15:]) for line in lines if line.startswith(b"content-length:")) - len(body)
    while left > 0:
        if not (piece := connection.recv(65536)):
            return False
        left -= len(piece)
    return b" 200 " in lines[0] + b" "


if __name__ == "__main__":
    main(*sys.argv[1:])
