"""Lists in pages: tags of a repository and repositories of a registry (distribution-spec, "Listing Tags").

Registry layer, over the session. Pages are followed by `Link` within the registry's own origin, at most 1000 of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from provender.errors import Denied, InvalidDocument, ProvenderError, Unavailable
from provender.oci.document import parse_json
from provender.storage.registry.calls import with_query
from provender.storage.registry.failures import Answer
from provender.storage.registry.headers import next_link
from provender.storage.registry.quirks import TAGS_PAGE
from provender.storage.registry.redact import printable, shown_url
from provender.storage.registry.session import Call, Session

__all__ = ["list_names", "next_page"]

_MAX_PAGES: Final = 1000
_MAX_BYTES: Final = 64 << 20  # of all pages together
_PAGE_BYTES: Final = 16 << 20  # docker-registry 2.8 sends all tags in one page, whatever is asked for


def list_names(session: Session, call: Call, key: str, is_valid: Callable[[str], bool]) -> Iterator[str]:
    """Every name in the list `key` of the pages of `call` once, in the registry's order.

    The first request asks for pages of 1000, the most that every known registry grants; one that refuses is asked
    without. After a full page without `Link` one more is asked for by `last` (registries before distribution-spec
    1.1.1); a registry that ignores this gives nothing new, which ends the list.
    """
    seen: set[str] = set()
    urls: set[str] = set()
    sized, total = True, 0
    path: str | None = with_query(call.path, (("n", str(TAGS_PAGE)),))
    for _ in range(_MAX_PAGES):
        if path is None:
            return
        answer, sized = _page(session, call, path, sized=sized)
        urls.add(path)
        total += len(answer.body)
        names = _names(session, call, answer, key)
        fresh = [name for name in dict.fromkeys(names) if name not in seen]
        seen.update(fresh)
        for name in fresh:
            if is_valid(name):
                yield name
            else:
                session.warn(f"left out of the list: {printable(name, 80)!r} is not a valid name")
        path = _next(session, call, answer, names if sized else [], has_fresh=bool(fresh))
        if path in urls:
            return
        if total > _MAX_BYTES:
            break
    if path is not None:
        raise Unavailable(
            f"the list of {key} of {session.host} does not end after {_MAX_PAGES} pages or {_MAX_BYTES} bytes",
            code="too-many-pages",
            where=call.where,
            hint="the registry does not come to an end; ask its operator",
            retryable=False,
            exit_status=69,
        )


def _page(session: Session, call: Call, path: str, *, sized: bool) -> tuple[Answer, bool]:
    """The answer to one page, and whether sizes of pages may still be asked for."""
    page = msgspec.structs.replace(call, path=path, ok=(200, 400) if sized else (200,), limit=_PAGE_BYTES)
    answer = session.ask(page)
    if answer.status == 400:
        return session.ask(msgspec.structs.replace(call, ok=(200,), limit=_PAGE_BYTES)), False
    return answer, sized


def _names(session: Session, call: Call, answer: Answer, key: str) -> list[str]:
    if answer.is_page:
        raise session.no_registry(answer, call)
    if answer.is_cut:
        raise InvalidDocument(f"a page of {key} is over {_PAGE_BYTES} bytes", code="page-too-large", where=call.where)
    try:
        fields = parse_json(answer.body, f"the list of {key}")
    except InvalidDocument as error:
        raise error.at(call.where) from None
    names = fields.get(key)
    if names is None:  # an empty list in Go
        return []
    if not isinstance(names, list):
        raise InvalidDocument(f"the list of {key} is no list", code="invalid-list", where=call.where)
    return [name for name in names if isinstance(name, str)]


def next_page(session: Session, call: Call, answer: Answer) -> str | None:
    """The URL that `Link` names for the next page; None without one. Denied if it leads to another host."""
    link = next_link(answer.headers.get("link", ""))
    if link is None:
        return None
    try:
        url = session.url(link, base=answer.url, what="the link to the next page")
    except ProvenderError as error:
        raise error.at(call.where) from None
    if not session.is_own(url):
        raise Denied(
            f"the link to the next page leads to another host: {shown_url(url)[:200]}",
            code="foreign-link",
            where=call.where,
            hint="it was not followed; the registry does not know its own address (check its external URL)",
        )
    return url


def _next(session: Session, call: Call, answer: Answer, names: list[str], *, has_fresh: bool) -> str | None:
    """The URL of the next page; None after the last."""
    url = next_page(session, call, answer)
    # Without a link only a page of exactly the size that was asked for may have been cut.
    if url is not None or len(names) != TAGS_PAGE or not has_fresh:
        return url
    return with_query(call.path, (("n", str(TAGS_PAGE)), ("last", names[-1])))
