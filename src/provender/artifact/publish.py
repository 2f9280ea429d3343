"""Files published as an artifact: packed, pushed, and named by a manifest that comes last. Artifact layer.

What is written is image-spec 1.1 in the shape that `oras push` gives it, without the time of the push: the same input
gives the same digest. The form for image-spec 1.0 carries the type in the config's media type.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from provender.artifact.annotation_file import CONFIG_KEY, MANIFEST_KEY
from provender.artifact.names import shown, split_path
from provender.artifact.pack import PackedLayer, Source, check_media_type, pack
from provender.errors import IntegrityError, InvalidReference, NotFound
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Document, Manifest
from provender.oci.annotations import CREATED, TITLE
from provender.oci.media_types import EMPTY, MANIFEST, UNKNOWN_ARTIFACT, UNKNOWN_CONFIG
from provender.oci.reference import check_tag
from provender.storage.abilities import BlobReader, Pusher
from provender.storage.verify import BytesReader
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress, WatchedReader

__all__ = ["ConfigFile", "PublishOptions", "publish"]

_EMPTY_EMBEDDED: Final = msgspec.structs.replace(EMPTY_DESCRIPTOR, data=base64.b64encode(EMPTY_BYTES).decode())


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file that becomes the artifact's config."""

    path: str
    media_type: str = UNKNOWN_CONFIG

    @classmethod
    def parse(cls, text: str) -> ConfigFile:
        """The config that `PATH[:MEDIA_TYPE]` names; unlike a source it has no title, so it may lie anywhere."""
        source = Source.parse(text, titled=False)
        return cls(path=source.path, media_type=source.media_type or UNKNOWN_CONFIG)


class PublishOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the manifest says.

    `annotations` are the manifest's. `file_annotations` go by title, with `$manifest` and `$config`; a title among them
    renames. `created_s` (SOURCE_DATE_EPOCH) is written as the time of creation and given to packed members; None leaves
    the time out.
    """

    artifact_type: str | None = None
    config: ConfigFile | None = None
    annotations: Mapping[str, str] = {}
    file_annotations: Mapping[str, Mapping[str, str]] = {}
    image_spec: Literal["v1.1", "v1.0"] = "v1.1"
    created_s: int | None = None
    subject: Descriptor | None = None
    jobs: int = 5


def publish(
    target: Pusher,
    sources: Sequence[Source],
    *,
    tags: Sequence[str] = (),
    options: PublishOptions | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> Document:
    """The pushed manifest. Everything is read, packed and checked before anything is pushed; the tags come last.

    Raises InvalidReference (tags, types, titles, options that exclude each other), NotFound (files), what `pack` and
    the target raise.
    """
    import tempfile

    options = options or PublishOptions()
    cancellation = cancellation or Cancellation()
    for tag in tags:
        check_tag(tag)
    _check_options(options)
    named = _named(sources, options.file_annotations)
    with tempfile.TemporaryDirectory(prefix="provender-") as scratch:
        layers = _pack_all(named, scratch, options, cancellation)
        config, blobs = _config(options, cancellation)
        descriptors = [_annotated(layer, source, options) for source, layer in zip(sources, layers, strict=True)]
        if not layers:
            # A manifest without any layer fails at some registries (image-spec issue 1025).
            descriptors = [_EMPTY_EMBEDDED]
            blobs.append((EMPTY_DESCRIPTOR, None))
        document = Document.author(_manifest(options, config, descriptors))
        blobs += [(layer.descriptor, layer.path) for layer in layers]
        work = _Work(target, progress, cancellation)
        unique = {descriptor.digest: (descriptor, path) for descriptor, path in blobs}
        run_all(
            [work.task(descriptor, path) for descriptor, path in unique.values()],
            jobs=options.jobs,
            cancellation=cancellation,
        )
    target.push_document(document, tuple(tags))
    return document


def _check_options(options: PublishOptions) -> None:
    if options.artifact_type is not None:
        check_media_type(options.artifact_type, "artifact type")
    if options.config is None:
        return
    check_media_type(options.config.media_type, "config")
    if options.image_spec == "v1.0" and options.artifact_type is not None:
        raise InvalidReference(
            "with image-spec v1.0 an artifact has its type from its config, so a config and a type exclude each other",
            code="conflicting-options",
            hint=f"write the type behind the config: {options.config.path}:{options.artifact_type}",
        )
    if options.config.media_type == EMPTY and options.artifact_type is None:
        raise InvalidReference(
            "a config of the empty type says nothing about the artifact",
            code="conflicting-options",
            hint="give an artifact type, or another media type for the config",
        )


def _named(sources: Sequence[Source], notes: Mapping[str, Mapping[str, str]]) -> list[Source]:
    """The sources under the titles that they get."""
    unknown = sorted(set(notes) - {CONFIG_KEY, MANIFEST_KEY} - {source.title for source in sources})
    if unknown:
        raise InvalidReference(
            f"there are annotations for {', '.join(shown(name) for name in unknown[:5])}, which is not pushed",
            code="unused-annotations",
            hint=f"pushed are {', '.join(source.title for source in sources[:10]) or 'no files'}",
        )
    named: list[Source] = []
    for source in sources:
        title = _checked_title(notes.get(source.title, {}).get(TITLE, source.title))
        if any(title == other.title for other in named):
            raise InvalidReference(
                f"two files have the title {shown(title)}",
                code="duplicate-title",
                hint="name each once; a title can be changed in the annotation file",
            )
        named.append(msgspec.structs.replace(source, title=title))
    return named


def _checked_title(title: str) -> str:
    if title == ".":
        return title
    try:
        return "/".join(split_path(title, where="title"))
    except IntegrityError as error:
        raise InvalidReference(
            error.message, code="unsafe-title", hint="a title is a relative path without '..'"
        ) from error


def _pack_all(
    sources: Sequence[Source], scratch: str, options: PublishOptions, cancellation: Cancellation
) -> list[PackedLayer]:
    def task(source: Source) -> Callable[[], PackedLayer]:
        return lambda: pack(source, scratch, epoch_s=options.created_s or 0, cancellation=cancellation)

    return run_all([task(source) for source in sources], jobs=options.jobs, cancellation=cancellation)


def _annotated(layer: PackedLayer, source: Source, options: PublishOptions) -> Descriptor:
    notes = {**options.file_annotations.get(source.title, {}), **(layer.descriptor.annotations or {})}
    return msgspec.structs.replace(layer.descriptor, annotations=dict(sorted(notes.items())))


def _config(
    options: PublishOptions, cancellation: Cancellation
) -> tuple[Descriptor, list[tuple[Descriptor, str | None]]]:
    """The config's descriptor, and the blob to push with the path of its file (None: the empty JSON)."""
    notes = dict(sorted(options.file_annotations.get(CONFIG_KEY, {}).items())) or None
    if options.config is not None:
        if os.path.isdir(options.config.path):
            raise NotFound(f"the config {shown(options.config.path)} is a directory", code="no-such-file")
        source = Source(path=options.config.path, title="config", media_type=options.config.media_type)
        packed = pack(source, "", cancellation=cancellation)
        config = msgspec.structs.replace(packed.descriptor, annotations=notes)
        return config, [(config.bare, packed.path)]
    if options.image_spec == "v1.0":
        config = Descriptor.of(EMPTY_BYTES, options.artifact_type or UNKNOWN_CONFIG, annotations=notes)
        return config, [(config.bare, None)]
    return msgspec.structs.replace(_EMPTY_EMBEDDED, annotations=notes), [(EMPTY_DESCRIPTOR, None)]


def _manifest(options: PublishOptions, config: Descriptor, layers: Sequence[Descriptor]) -> Manifest:
    artifact_type = options.artifact_type if options.image_spec == "v1.1" else None
    if options.image_spec == "v1.1" and options.config is None:
        artifact_type = options.artifact_type or UNKNOWN_ARTIFACT
    notes = {**options.file_annotations.get(MANIFEST_KEY, {}), **options.annotations}
    if options.created_s is not None:
        notes.setdefault(CREATED, _rfc3339(options.created_s))
    return Manifest(
        schema_version=2,
        media_type=MANIFEST,
        artifact_type=artifact_type,
        config=config,
        layers=tuple(layers),
        subject=None if options.subject is None else options.subject.bare,
        annotations=dict(sorted(notes.items())) or None,
    )


def _rfc3339(epoch_s: int) -> str:
    import datetime as dt

    try:
        moment = dt.datetime.fromtimestamp(epoch_s, dt.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidReference(
            f"{epoch_s} is no time", code="invalid-time", hint="SOURCE_DATE_EPOCH is seconds since 1970"
        ) from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class _Work:
    """What the tasks of one push share."""

    def __init__(self, target: Pusher, progress: Progress, cancellation: Cancellation) -> None:
        self._target = target
        self._progress = progress
        self._cancellation = cancellation

    def task(self, descriptor: Descriptor, path: str | None) -> Callable[[], None]:
        return lambda: self._push(descriptor, path)

    def _push(self, descriptor: Descriptor, path: str | None) -> None:
        self._cancellation.check()
        task = self._progress.start(descriptor.title or descriptor.digest.short, descriptor.size)
        with (
            _opened(path) as source,
            WatchedReader(source, self._progress, task, self._cancellation) as reader,
        ):
            self._target.push(descriptor, reader)
        self._progress.done(task)


def _opened(path: str | None) -> BlobReader:
    return BytesReader(EMPTY_BYTES) if path is None else open(path, "rb")
