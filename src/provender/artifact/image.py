"""The file system of a container image: its layers as one tree, upper ones over lower ones, deletions carried out.

Artifact layer (image-spec, layer.md). Layers are read from the uppermost down, so that each path is written once, by
the layer that it belongs to in the end: what an upper layer has, deleted (`.wh.NAME`) or emptied (`.wh..wh..opq`) is
passed over further down. Absolute links are made relative to the image's root. Devices and pipes are left out: they are
for whoever runs the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from provender.artifact.names import shown, split_path
from provender.artifact.tar import Member, TarReader
from provender.artifact.tree import Entry, TreeWriter
from provender.artifact.unpack import fetch_content
from provender.errors import IntegrityError, ProvenderError
from provender.oci import Descriptor
from provender.storage.abilities import Fetcher
from provender.storage.compression import open_stream
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.transfer.pool import Cancellation
from provender.transfer.progress import NO_PROGRESS, Progress, WatchedReader

__all__ = ["LayerTarget", "stack_layers", "unpack_image"]

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_RESERVED: Final = ".wh..wh."


class LayerTarget(Protocol):
    """Where the files of an image go: each path comes once, whatever is below the others is never told of."""

    def directory(self, path: str, *, origin: str) -> None: ...
    def file(self, path: str, member: Member, content: bytes | Iterable[bytes], *, origin: str) -> None: ...
    def symlink(self, path: str, target: str, *, origin: str) -> None: ...
    def hardlink(self, path: str, target: str, *, origin: str) -> None: ...


def unpack_image(
    layers: Sequence[Descriptor],
    fetcher: Fetcher,
    staging: str,
    *,
    limits: Limits = DEFAULT_LIMITS,
    is_wanted: Callable[[str], bool] = lambda _: True,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> tuple[Entry, ...]:
    """The entries of the tree that the layers (lowest first) make in the empty directory `staging`.

    Only paths that `is_wanted` are written. Raises IntegrityError for a hostile or broken layer; `where` names it.
    """
    with TreeWriter(staging, limits) as writer:
        stack_layers(
            layers,
            fetcher,
            _TreeTarget(writer),
            limits=limits,
            is_wanted=is_wanted,
            progress=progress,
            cancellation=cancellation or Cancellation(),
        )
        return writer.finish()


def stack_layers(
    layers: Sequence[Descriptor],
    fetcher: Fetcher,
    target: LayerTarget,
    *,
    limits: Limits = DEFAULT_LIMITS,
    is_wanted: Callable[[str], bool] = lambda _: True,
    has_links: bool = True,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation,
) -> None:
    """Tell `target` of everything that the layers (lowest first) leave in the end, uppermost layer first.

    Without `has_links` it hears of no links of either kind. Raises as `unpack_image`.
    """
    overlay = _Overlay(target, limits, is_wanted, has_links=has_links)
    for number in range(len(layers), 0, -1):
        cancellation.check()
        _take(layers[number - 1], number, fetcher, overlay, progress, cancellation)
    overlay.finish()


class _TreeTarget:
    """A tree writer as the target."""

    def __init__(self, writer: TreeWriter) -> None:
        self._writer = writer

    def directory(self, path: str, *, origin: str) -> None:
        self._writer.directory(tuple(path.split("/")), origin=origin)

    def file(self, path: str, member: Member, content: bytes | Iterable[bytes], *, origin: str) -> None:
        self._writer.add_file(path, content, executable=member.executable, size=member.size, origin=origin)

    def symlink(self, path: str, target: str, *, origin: str) -> None:
        self._writer.symlink(tuple(path.split("/")), target, origin=origin)

    def hardlink(self, path: str, target: str, *, origin: str) -> None:
        self._writer.hardlink(tuple(path.split("/")), tuple(target.split("/")), origin=origin)


def _take(
    layer: Descriptor, number: int, fetcher: Fetcher, overlay: _Overlay, progress: Progress, cancellation: Cancellation
) -> None:
    task = progress.start(layer.digest.short, layer.size)
    where = f"layer {number} ({layer.digest.short})"
    passes = [overlay.take, overlay.take_orphans]
    try:
        for take in passes:
            with (
                fetch_content(fetcher, layer) as source,
                WatchedReader(source, progress if take is passes[0] else NO_PROGRESS, task, cancellation) as reader,
            ):
                stream = open_stream(reader, None, overlay.limits, where=where)
                take(TarReader(stream, limits=overlay.limits, where=where, tells_special=True), where)
                stream.drain()
            if not overlay.has_new_orphans:
                break
    except ProvenderError as error:
        error.at(where)
        raise
    progress.done(task)


class _Overlay:
    """What is decided by the layers so far, which are the upper ones."""

    def __init__(
        self, target: LayerTarget, limits: Limits, is_wanted: Callable[[str], bool], *, has_links: bool
    ) -> None:
        self.limits = limits
        self._target = target
        self._has_links = has_links
        self._is_wanted = is_wanted
        # Paths that are there or gone: nothing further down counts at them or, but for directories, below them.
        self._settled: set[str] = set()
        self._closed: set[str] = set()
        self._directories: set[str] = set()
        # Hard links whose target an upper layer has replaced: the link keeps what the target was.
        self._orphans: dict[str, list[tuple[str, str]]] = {}
        self._own: set[str] = set()
        """Those targets that links of the present layer name."""
        self._laid: set[str] = set()
        self._names = 0
        self.has_new_orphans = False
        """True if the layer that was taken last has links to files of its own that came before them and are no more."""

    def take(self, archive: TarReader, where: str) -> None:
        """All members of the next layer down."""
        self.has_new_orphans = False
        self._laid.clear()
        closed: set[str] = set()
        settled: set[str] = set()
        directories: set[str] = set()
        for member in iter(archive.next, None):
            self._count(where)
            parent, _, name = member.path.rpartition("/")
            if name == _OPAQUE:
                closed.add(f"{parent}/" if parent else "")
            elif name.startswith(_RESERVED):
                continue  # aufs kept its own things under such names
            elif name.startswith(_WHITEOUT):
                gone = f"{parent}/{name.removeprefix(_WHITEOUT)}" if parent else name.removeprefix(_WHITEOUT)
                settled.add("/".join(split_path(gone, where=where, limits=self.limits)))
                closed.add(f"{gone}/")
            else:
                self._lay(member, archive, where)
                (directories if member.kind == "directory" else settled).add(member.path)
                while parent and parent not in directories:
                    directories.add(parent)
                    parent = parent.rpartition("/")[0]
        # What a layer takes away, it takes from those below it, not from itself.
        self._settled |= settled | directories
        self._directories |= directories
        self._closed |= closed | {f"{path}/" for path in settled}

    def take_orphans(self, archive: TarReader, _: str) -> None:
        """The layer once more, for the files that its own hard links wait for."""
        self.has_new_orphans = False
        for member in iter(archive.next, None):
            if member.kind == "file" and member.path in self._own and member.path in self._orphans:
                self._adopt(member, archive, is_laid=False)
        self._own.clear()

    def finish(self) -> None:
        """Nothing may be left that hangs on a file which never came."""
        for target, ((path, where), *_) in self._orphans.items():
            raise IntegrityError(
                f"the hard link {shown(path)} to {shown(target)} does not name a file of this image",
                code="bad-link",
                where=where,
                hint="nothing was unpacked; the image is broken",
            )

    def _lay(self, member: Member, archive: TarReader, where: str) -> None:
        path, is_directory = member.path, member.kind == "directory"
        if member.kind == "special" or (not self._has_links and member.kind in ("link", "hardlink")):
            return
        is_laid = not self._is_hidden(path, is_directory=is_directory) and self._is_wanted(path)
        waiting = self._orphans.pop(path, []) if member.kind == "hardlink" else []
        if member.kind == "file" and path in self._orphans:
            self._adopt(member, archive, is_laid=is_laid)
        elif is_laid:
            self._write(member, archive, where)
        for link, origin in waiting:
            self._link(link, member, origin, where)

    def _write(self, member: Member, archive: TarReader, where: str) -> None:
        if member.kind == "directory":
            if member.path:
                self._target.directory(member.path, origin=where)
        elif member.kind == "file":
            self._file(member.path, member, archive, where)
        elif member.kind == "link":
            self._target.symlink(member.path, _inside(member.path, member.link), origin=where)
        else:
            self._link(member.path, member, where, where)

    def _link(self, path: str, member: Member, origin: str, where: str) -> None:
        """Make `path` what the hard link `member` of this layer is."""
        target = "/".join(split_path(member.link.lstrip("/"), where=where, limits=self.limits))
        if target in self._laid:
            self._target.hardlink(path, target, origin=origin)
        else:
            self._orphans.setdefault(target, []).append((path, origin))
            self._own.add(target)
            self.has_new_orphans = True

    def _adopt(self, member: Member, archive: TarReader, *, is_laid: bool) -> None:
        """Write a file to which links wait: in its own place, if it has one in the end, else in that of the first."""
        links = self._orphans.pop(member.path)
        first = member.path if is_laid else links.pop(0)[0]
        self._file(first, member, archive, links[0][1] if links else "image")
        for link, origin in links:
            self._target.hardlink(link, first, origin=origin)

    def _file(self, path: str, member: Member, archive: TarReader, where: str) -> None:
        self._laid.add(path)
        self._target.file(path, member, archive.content(), origin=where)

    def _is_hidden(self, path: str, *, is_directory: bool) -> bool:
        """True if an upper layer has something else there, or took it away."""
        if path in self._settled and not (is_directory and path in self._directories):
            return True
        if not self._closed:
            return False
        at = path.find("/")
        while at >= 0:
            if path[: at + 1] in self._closed:
                return True
            at = path.find("/", at + 1)
        return "" in self._closed and bool(path)

    def _count(self, where: str) -> None:
        self._names += 1
        if self._names > self.limits.entries:
            raise IntegrityError(
                f"more than {self.limits.entries} entries in all layers",
                code="too-many-entries",
                where=where,
                hint="nothing was unpacked; the image is hostile or broken",
            )


def _inside(path: str, target: str) -> str:
    """The target of a link as somebody sees it whose root is the image's, written relative to the link."""
    is_absolute, above = target.startswith("/"), path.count("/")
    depth = 0 if is_absolute else above
    kept = [".."] * above if is_absolute else []
    for piece in target.split("/"):
        if piece in ("", "."):
            continue
        if piece == "..":
            if not depth:
                continue  # above the root is the root
            depth -= 1
        else:
            depth += 1
        kept.append(piece)
    return "/".join(kept) or "."
