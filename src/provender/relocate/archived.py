"""An archive of several repositories as the source of a relocation: every repository goes its own way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from provender.oci import Digest
from provender.relocate.mapping import archived_repository
from provender.relocate.wish import Wish
from provender.storage.archive import ArchiveStorage
from provender.storage.archive_contents import full_name, split_name
from provender.storage.open import Storages

__all__ = ["spread"]


def spread(wishes: Sequence[Wish], source: Storages) -> Iterator[Wish]:
    """The wishes, those for all that is in an archive of several repositories as one for each of them.

    What has no tag there is wished for by its digest, if everything is.
    """
    for wish in wishes:
        storage = source.open(wish.source).storage if wish.is_selection and wish.source.kind == "layout" else None
        if not isinstance(storage, ArchiveStorage) or archived_repository(wish.source) is not None:
            yield wish
            continue
        names = list(storage.repositories())
        if not names:
            yield wish
        for name in names:
            place = msgspec.structs.replace(wish.source, registry=f"{wish.source.registry}/{name}")
            view = storage.repository(name)
            if wish.select(view.tags()):
                yield msgspec.structs.replace(wish, source=place)
            if wish.pattern == "*" and wish.versions is None:
                for digest in _untagged(storage, name):
                    yield Wish(source=place, target=digest)


def _untagged(storage: ArchiveStorage, repository: str) -> Iterator[Digest]:
    for entry in storage.entries:
        name = full_name(entry)
        if name is not None and split_name(name) == (repository, None):
            yield entry.digest
