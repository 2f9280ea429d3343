"""Files from the web for vendir contents: downloaded beside where they go, unpacked or as they are.

Archives are known by their content: zip, tar with or without gzip. Anything else is a file, named after its address.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import unquote, urlsplit

from provender.artifact.content import content_kind, lay_content
from provender.artifact.names import split_path
from provender.artifact.tree import TreeWriter
from provender.dialects.vendir.fetch import Work
from provender.dialects.vendir.modes import settle_modes
from provender.dialects.vendir.secrets import References
from provender.errors import IntegrityError, InvalidProject
from provender.storage.compression import sniff
from provender.storage.limits import DEFAULT_LIMITS
from provender.storage.web import Download, FileSink, WebClient, basic_authorization

if TYPE_CHECKING:
    from provender.dialects.vendir.schema import Http

__all__ = ["basic_login", "download_file", "fetch_http", "is_archive", "scratch", "unpack_archive"]

_MAX_FILE_BYTES: Final = 64 << 30
_SNIFF_BYTES: Final = 1 << 10


@contextmanager
def scratch(staging: str) -> Iterator[str]:
    """A directory beside `staging`, on the same file system, for the time of a download."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(staging), prefix=".vendir-provender-") as path:
        yield path


def basic_login(references: References, secret: str) -> str | None:
    """The authorization that a Secret with `username` and `password` stands for."""
    if not secret:
        return None
    fields = references.fields(secret, frozenset({"username", "password"}))
    if "username" not in fields:
        return None
    return basic_authorization(fields["username"], fields.get("password", ""))


def download_file(
    web: WebClient,
    url: str,
    path: str,
    work: Work,
    *,
    authorization: str | None = None,
    accept: str = "*/*",
    mode: int = 0o600,
) -> Download:
    """Download `url` into the new file `path`."""
    task = work.progress.start(posixpath.basename(urlsplit(url).path) or url, 0)

    def tick(size: int) -> None:
        work.cancellation.check()
        work.progress.advance(task, size)

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    try:
        found = web.download(
            url,
            FileSink(fd),
            limit_bytes=_MAX_FILE_BYTES,
            authorization=authorization,
            accept=accept,
            tick=tick,
        )
    finally:
        os.close(fd)
    work.progress.done(task)
    return found


def _check_sha256(found: Download, expected: str) -> None:
    """Nothing, or IntegrityError if a file is not the one that was meant."""
    if expected and found.sha256 != expected.lower():
        raise IntegrityError(
            f"Expected digest to match 'sha256:{expected[:80]}', but was 'sha256:{found.sha256}'",
            code="digest-mismatch",
            where=found.url,
            hint="the file changed, or the digest is of another one; correct sha256 once you know which",
        )


def fetch_http(web: WebClient, http: Http, staging: str, work: Work, references: References) -> None:
    """What the source `http` lays in the empty directory `staging`."""
    if not http.url:
        raise InvalidProject(
            "Expected non-empty URL", code="missing-value", hint="write http: {url: https://example.com/a.tar.gz}"
        )
    secret = http.secret_ref.name if http.secret_ref is not None else ""
    with scratch(staging) as place:
        path = os.path.join(place, "download")
        found = download_file(web, http.url, path, work, authorization=basic_login(references, secret))
        _check_sha256(found, http.sha256)
        if http.disable_unpack:
            # As vendir leaves it: a temporary file that was moved.
            _place_file(path, staging, posixpath.basename(http.url.rstrip("/")) or "content", mode=0o600)
            os.chmod(staging, 0o700)
            return
        if is_archive(path):
            unpack_archive(path, staging, where=http.url)
            settle_modes(staging, work.umask, directory_mode=0o700)
            return
        _place_file(path, staging, _file_name(http.url), mode=0o666 & ~work.umask)
        os.chmod(staging, 0o700)


def _file_name(url: str) -> str:
    """The name of a plain file: the last part of the address's path, or `content`."""
    return unquote(urlsplit(url).path.rpartition("/")[2]) or "content"


def _place_file(path: str, staging: str, name: str, *, mode: int) -> None:
    """Move a file into `staging` under a name that is one safe component."""
    parts = split_path(name, where=name)
    if len(parts) != 1:
        raise IntegrityError(f"not the name of a file: {name[:80]!r}", code="bad-name")
    os.chmod(path, mode)
    os.rename(path, os.path.join(staging, parts[0]))


def is_archive(path: str) -> bool:
    """True for a zip, and for a tar with or without gzip; vendir knows no zstd."""
    with open(path, "rb") as file:
        if sniff(file.read(_SNIFF_BYTES)) == "zstd":
            return False
    return content_kind(partial(_open, path), DEFAULT_LIMITS, path) != "file"


def unpack_archive(path: str, staging: str, *, where: str) -> None:
    """Unpack an archive into the empty directory `staging`; nothing in it may lead outside."""
    with TreeWriter(staging, is_hashed=False) as writer:
        lay_content(
            partial(_open, path),
            writer,
            (),
            mode="extract",
            size_bytes=os.path.getsize(path),
            origin=where,
        )
        writer.finish()


def _open(path: str) -> BinaryIO:
    return open(path, "rb")
