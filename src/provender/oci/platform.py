"""Platform: which machine a child of an index is for, normalised and matched as containerd does. Pure."""

from __future__ import annotations

import re

import msgspec

from provender.errors import InvalidReference

__all__ = ["Platform"]

_COMPONENT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_OS = {"macos": "darwin"}
_ARCHITECTURES = {
    "i386": ("386", None),
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
# A variant that equals no variant at all.
_DEFAULT_VARIANTS = {"arm64": "v8", "amd64": "v1", "arm": "v7"}


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`os/architecture[/variant]` in the words of GOOS and GOARCH (image-spec, image-index.md)."""

    architecture: str
    os: str
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: tuple[str, ...] | None = msgspec.field(default=None, name="os.features")
    variant: str | None = None
    features: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> Platform:
        """The platform that `os/architecture[/variant][:os.version]` names, normalised, or InvalidReference."""
        name, _, version = text.partition(":")
        parts = name.split("/")
        if len(parts) not in (2, 3) or not all(_COMPONENT.fullmatch(part) for part in parts):
            raise InvalidReference(
                f"not a platform: {text[:80]!r}",
                code="invalid-platform",
                hint="write os/architecture, such as linux/amd64 or linux/arm/v7",
            )
        variant = parts[2] if len(parts) == 3 else None
        return cls(os=parts[0], architecture=parts[1], variant=variant, os_version=version or None).normalised()

    def normalised(self) -> Platform:
        """The same platform in canonical words: lower case, `x86_64` as `amd64`, default variants left out."""
        os = self.os.lower()
        architecture = self.architecture.lower()
        architecture, implied = _ARCHITECTURES.get(architecture, (architecture, None))
        variant = (self.variant or "").lower() or implied
        if variant and variant[0].isdigit():
            variant = f"v{variant}"
        if variant == _DEFAULT_VARIANTS.get(architecture):
            variant = None
        return msgspec.structs.replace(self, os=_OS.get(os, os), architecture=architecture, variant=variant)

    def matches(self, wanted: Platform) -> bool:
        """True if content for this platform is what `wanted` asks for; an `os.version` asked for must be a prefix."""
        mine, other = self.normalised(), wanted.normalised()
        if (mine.os, mine.architecture, mine.variant) != (other.os, other.architecture, other.variant):
            return False
        return other.os_version is None or (mine.os_version or "").startswith(other.os_version)

    @property
    def is_unknown(self) -> bool:
        """True for `unknown/unknown`, which BuildKit gives its attestation manifests."""
        return self.os == "unknown" and self.architecture == "unknown"

    def __str__(self) -> str:
        text = f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")
        return f"{text}:{self.os_version}" if self.os_version else text
