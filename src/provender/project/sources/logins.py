"""Logins for downloads: tokens for GitHub's own API, and what the user's `~/.netrc` has for a host.

Project layer. A login is sent to the host that it belongs to and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import urlsplit

from provender.errors import InvalidProject
from provender.storage.web import basic_authorization

__all__ = ["Logins"]

_GITHUB_API = "api.github.com"


class Logins:
    """Values of `Authorization`, for the environment `environ`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def authorization(self, url: str) -> str | None:
        """What to send to `url`; None for nothing.

        A token of the environment (`GH_TOKEN`, `GITHUB_TOKEN`) is for GitHub's own API alone. Raises InvalidProject
        for a netrc that cannot be read.
        """
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.netloc == _GITHUB_API:
            token = self._environ.get("GH_TOKEN") or self._environ.get("GITHUB_TOKEN")
            if token and token.isascii() and token.isprintable():
                return f"Bearer {token.strip()}"
        return self._by_host.get(parts.hostname or "")

    @cached_property
    def _by_host(self) -> Mapping[str, str]:
        """Those of the file that `NETRC` names, or `~/.netrc`. Its `default` would go to every host: it is not used."""
        import netrc

        home = self._environ.get("HOME")
        path = self._environ.get("NETRC") or (os.path.join(home, ".netrc") if home else "")
        if not path or not os.path.isfile(path):
            return {}
        try:
            found = netrc.netrc(path)
        except (netrc.NetrcParseError, UnicodeDecodeError) as error:
            raise InvalidProject(
                "the file with logins cannot be read",
                code="invalid-netrc",
                where=path,
                hint="each entry is: machine HOST login USER password PASSWORD",
            ) from error
        return {
            host: basic_authorization(login, password or "")
            for host, (login, _, password) in found.hosts.items()
            if host != "default"
        }
