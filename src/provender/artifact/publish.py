"""Files published as an artifact: packed, pushed, and named by a manifest that comes last. Artifact layer.

What is written is image-spec 1.1 in the shape that `oras push` gives it, without the time of the push: the same input
gives the same digest. Two forms are for registries that do not take this: the one of image-spec 1.0 carries the type in
the config's media type, and the one with an image's config (for allow-lists such as GitLab's) in an annotation.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Literal

import msgspec

from provender.artifact.annotation_file import CONFIG_KEY, MANIFEST_KEY
from provender.artifact.names import shown, split_path
from provender.artifact.pack import PackedLayer, Source, check_media_type, file_layer, pack
from provender.artifact.scratch import packing_directory
from provender.errors import IntegrityError, InvalidReference, NotFound
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Document, Manifest
from provender.oci.annotations import COMPAT_TYPE, CREATED, TITLE
from provender.oci.media_types import EMPTY, IMAGE_CONFIG, MANIFEST, UNKNOWN_ARTIFACT, UNKNOWN_CONFIG
from provender.oci.reference import check_tag
from provender.storage.abilities import Pusher
from provender.storage.hashing import EarlyPusher, HashingFile, settled_size
from provender.storage.rewindable import Rewindable
from provender.storage.verify import BytesReader
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress, WatchedContent, WatchedHashing

__all__ = ["ArtifactCompat", "ConfigFile", "PublishOptions", "publish", "push_blobs"]

"""The annotation that has the artifact's type where its config pretends to be an image's."""

ArtifactCompat = Literal["image-config", "config-type"]

# The least that image-spec wants of an image's config (config.md), for registries that look into it.
_IMAGE_CONFIG_BYTES: Final = b'{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}'
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
    the time out. `artifact_compat` chooses a form for registries that refuse artifacts: `config-type` is `image_spec`
    v1.0, `image-config` pretends to be an image.
    """

    artifact_type: str | None = None
    config: ConfigFile | None = None
    annotations: Mapping[str, str] = {}
    file_annotations: Mapping[str, Mapping[str, str]] = {}
    image_spec: Literal["v1.1", "v1.0"] = "v1.1"
    artifact_compat: ArtifactCompat | None = None
    created_s: int | None = None
    subject: Descriptor | None = None
    jobs: int = 5

    @property
    def form(self) -> Literal["v1.1", "config-type", "image-config"]:
        """Where the type stands: in `artifactType`, in the config's media type, or in an annotation."""
        if self.artifact_compat is not None:
            return self.artifact_compat
        return "v1.1" if self.image_spec == "v1.1" else "config-type"


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

    Only a large file may be pushed while it is read, where that cannot be in vain (see `EarlyPusher`).

    Raises InvalidReference (tags, types, titles, options that exclude each other), NotFound (files), what `pack` and
    the target raise.
    """
    options = options or PublishOptions()
    cancellation = cancellation or Cancellation()
    for tag in tags:
        check_tag(tag)
    _check_options(options)
    named = _named(sources, options.file_annotations)
    work = _Work(target, progress, cancellation)
    with packing_directory() as scratch:
        config, blobs = _config(options, cancellation)
        layers = _pack_all(named, scratch, options, work)
        descriptors = [_annotated(layer, source, options) for source, layer in zip(sources, layers, strict=True)]
        if not layers:
            # A manifest without any layer fails at some registries (image-spec issue 1025).
            descriptors = [_EMPTY_EMBEDDED]
            blobs.append((EMPTY_DESCRIPTOR, EMPTY_BYTES))
        document = Document.author(_manifest(options, config, descriptors))
        blobs += [(layer.descriptor, layer) for layer in layers if not layer.is_pushed]
        work.push_all(blobs, jobs=options.jobs)
    target.push_document(document, tuple(tags))
    return document


def push_blobs(
    target: Pusher,
    blobs: Iterable[tuple[Descriptor, bytes | PackedLayer]],
    *,
    jobs: int = 5,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> None:
    """Push blobs side by side, each digest once."""
    _Work(target, progress, cancellation or Cancellation()).push_all(blobs, jobs=jobs)


def _check_options(options: PublishOptions) -> None:
    if options.artifact_type is not None:
        check_media_type(options.artifact_type, "artifact type")
    if options.config is None:
        return
    check_media_type(options.config.media_type, "config")
    if options.form == "image-config":
        raise InvalidReference(
            "an artifact that pretends to be an image has an image's config, so it cannot have another one",
            code="conflicting-options",
            hint="leave out the config, publish it as a file, or use --artifact-compat config-type",
        )
    if options.form == "config-type" and options.artifact_type is not None:
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
    named: dict[str, Source] = {}
    for source in sources:
        title = _checked_title(notes.get(source.title, {}).get(TITLE, source.title))
        if title in named:
            raise InvalidReference(
                f"two files have the title {shown(title)}",
                code="duplicate-title",
                hint="name each once; a title can be changed in the annotation file",
            )
        named[title] = msgspec.structs.replace(source, title=title)
    return list(named.values())


def _checked_title(title: str) -> str:
    if title == ".":
        return title
    try:
        return "/".join(split_path(title, where="title"))
    except IntegrityError as error:
        raise InvalidReference(
            error.message, code="unsafe-title", hint="a title is a relative path without '..'"
        ) from error


def _pack_all(sources: Sequence[Source], scratch: str, options: PublishOptions, work: _Work) -> list[PackedLayer]:
    """The layers of the sources. What is pushed early comes last: the less was sent if another one is not good."""
    early = work.early(sources)

    def packed(source: Source) -> PackedLayer:
        return pack(source, scratch, epoch_s=options.created_s or 0, cancellation=work.cancellation)

    ordered = sorted(sources, key=lambda source: source.title in early)
    tasks = [early.get(source.title) or partial(packed, source) for source in ordered]
    layers = run_all(tasks, jobs=options.jobs, cancellation=work.cancellation)
    by_title = {source.title: layer for source, layer in zip(ordered, layers, strict=True)}
    return [by_title[source.title] for source in sources]


def _annotated(layer: PackedLayer, source: Source, options: PublishOptions) -> Descriptor:
    notes = {**options.file_annotations.get(source.title, {}), **(layer.descriptor.annotations or {})}
    return msgspec.structs.replace(layer.descriptor, annotations=dict(sorted(notes.items())))


def _config(
    options: PublishOptions, cancellation: Cancellation
) -> tuple[Descriptor, list[tuple[Descriptor, bytes | PackedLayer]]]:
    """The config's descriptor, and the blob to push with its file, or its bytes."""
    notes = dict(sorted(options.file_annotations.get(CONFIG_KEY, {}).items())) or None
    if options.config is not None:
        if os.path.isdir(options.config.path):
            raise NotFound(f"the config {shown(options.config.path)} is a directory", code="no-such-file")
        source = Source(path=options.config.path, title="config", media_type=options.config.media_type)
        packed = pack(source, "", cancellation=cancellation)
        config = msgspec.structs.replace(packed.descriptor, annotations=notes)
        return config, [(config.bare, packed)]
    if options.form == "image-config":
        config = Descriptor.of(_IMAGE_CONFIG_BYTES, IMAGE_CONFIG, annotations=notes)
        return config, [(config.bare, _IMAGE_CONFIG_BYTES)]
    if options.form == "config-type":
        config = Descriptor.of(EMPTY_BYTES, options.artifact_type or UNKNOWN_CONFIG, annotations=notes)
        return config, [(config.bare, EMPTY_BYTES)]
    return msgspec.structs.replace(_EMPTY_EMBEDDED, annotations=notes), [(EMPTY_DESCRIPTOR, EMPTY_BYTES)]


def _manifest(options: PublishOptions, config: Descriptor, layers: Sequence[Descriptor]) -> Manifest:
    artifact_type = options.artifact_type if options.form == "v1.1" else None
    if options.form == "v1.1" and options.config is None:
        artifact_type = options.artifact_type or UNKNOWN_ARTIFACT
    notes = {**options.file_annotations.get(MANIFEST_KEY, {}), **options.annotations}
    if options.form == "image-config":
        notes[COMPAT_TYPE] = options.artifact_type or UNKNOWN_ARTIFACT
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
        self.cancellation = cancellation

    def early(self, sources: Sequence[Source]) -> dict[str, Callable[[], PackedLayer]]:
        """By title, how to push the files that are to be pushed while they are read."""
        target = self._target
        sizes = {source: size for source in sources if (size := settled_size(source.path)) is not None}
        if not sizes or not isinstance(target, EarlyPusher):
            return {}
        chosen = zip(sizes, target.may_push_early(list(sizes.values())), strict=True)
        return {source.title: partial(self._push_early, target, source) for source, is_early in chosen if is_early}

    def push_all(self, blobs: Iterable[tuple[Descriptor, bytes | PackedLayer]], *, jobs: int) -> None:
        """Push blobs side by side, each digest once."""
        unique = {descriptor.digest: (descriptor, content) for descriptor, content in blobs}
        tasks = [partial(self._push, descriptor, content) for descriptor, content in unique.values()]
        run_all(tasks, jobs=jobs, cancellation=self.cancellation)

    def _push_early(self, target: EarlyPusher, source: Source) -> PackedLayer:
        with HashingFile(source.path) as file:
            task = self._progress.start(source.title, file.size)
            digest = target.push_early(WatchedHashing(file, self._progress, task, self.cancellation))
            self._progress.done(task)
            return file_layer(source, digest, file.size, is_pushed=True)

    def _push(self, descriptor: Descriptor, content: bytes | PackedLayer) -> None:
        self.cancellation.check()
        task = self._progress.start(descriptor.title or descriptor.digest.short, descriptor.size)
        with (
            _opened(content) as source,
            WatchedContent(source, self._progress, task, self.cancellation) as reader,
        ):
            self._target.push(descriptor, reader)
        self._progress.done(task)


def _opened(content: bytes | PackedLayer) -> Rewindable:
    """The reader of bytes, or of a layer's file."""
    return BytesReader(content) if isinstance(content, bytes) else content.open()
