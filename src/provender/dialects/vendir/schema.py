"""The shape of `vendir.yml`, `kind: Config`: frozen values with vendir's own names, in the order of its documentation.

Pure. What vendir leaves out when a field is empty has a plain default here, what it always writes has a factory: so
`msgspec.to_builtins` gives the fields that vendir marshals, for its printed configuration and its config digest.
"""

from __future__ import annotations

from typing import Final

import msgspec

from provender.dialects.vendir.selection import VersionSelection

__all__ = [
    "API_VERSION",
    "DEFAULT_LEGAL_PATHS",
    "SOURCES",
    "Archive",
    "Config",
    "Contents",
    "Cosign",
    "Directory",
    "DirectoryCopy",
    "Git",
    "GitVerification",
    "GithubRelease",
    "HelmChart",
    "HelmRepository",
    "Hg",
    "Http",
    "Image",
    "ImgpkgBundle",
    "Inline",
    "InlineReference",
    "InlineSource",
    "Manual",
    "OciArtifact",
    "SecretRef",
]

API_VERSION: Final = "vendir.k14s.io/v1alpha1"

DEFAULT_LEGAL_PATHS: Final = (
    "{LICENSE,LICENCE,License,Licence}{,.md,.txt,.rst}",
    "{COPYRIGHT,Copyright}{,.md,.txt,.rst}",
    "{NOTICE,Notice}{,.md,.txt,.rst}",
)

# In the order in which vendir names several of them.
SOURCES: Final = (
    "git",
    "hg",
    "http",
    "image",
    "githubRelease",
    "helmChart",
    "manual",
    "directory",
    "inline",
    "imgpkgBundle",
    "ociArtifact",
)


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What all have in common."""


class SecretRef(_Shape, frozen=True):
    """A Secret by its name."""

    name: str = ""


class GitVerification(_Shape, frozen=True):
    public_keys_secret_ref: SecretRef | None = None


class Git(_Shape, frozen=True):
    url: str = ""
    ref: str = ""
    ref_selection: VersionSelection | None = None
    verification: GitVerification | None = None
    secret_ref: SecretRef | None = None
    lfs_skip_smudge: bool = False
    dangerous_skip_tls_verify: bool = msgspec.field(default=False, name="dangerousSkipTLSVerify")
    skip_init_submodules: bool = False
    depth: int = 0
    force_http_basic_auth: bool = msgspec.field(default=False, name="forceHTTPBasicAuth")


class Hg(_Shape, frozen=True):
    """Known, so that what is written in it can be told apart; never fetched."""

    url: str = ""
    ref: str = ""
    evolve: bool = False
    secret_ref: SecretRef | None = None


class Http(_Shape, frozen=True):
    url: str = ""
    sha256: str = ""
    secret_ref: SecretRef | None = None
    disable_unpack: bool = False


class Image(_Shape, frozen=True):
    url: str = ""
    tag_selection: VersionSelection | None = None
    secret_ref: SecretRef | None = None
    response_header_timeout: int = 0
    dangerous_skip_tls_verify: bool = msgspec.field(default=False, name="dangerousSkipTLSVerify")


class ImgpkgBundle(_Shape, frozen=True):
    image: str = ""
    tag_selection: VersionSelection | None = None
    secret_ref: SecretRef | None = None
    response_header_timeout: int = 0
    dangerous_skip_tls_verify: bool = msgspec.field(default=False, name="dangerousSkipTLSVerify")
    recursive: bool = False
    additional_ca_certificates: tuple[str, ...] = msgspec.field(default=(), name="additionalCACertificates")


class Archive(_Shape, frozen=True):
    path: str = msgspec.field(default_factory=str)


class GithubRelease(_Shape, frozen=True):
    slug: str = msgspec.field(default_factory=str)
    tag: str = msgspec.field(default_factory=str)
    tag_selection: VersionSelection | None = None
    latest: bool = False
    url: str = ""
    checksums: dict[str, str] = {}
    disable_auto_checksum_validation: bool = False
    asset_names: tuple[str, ...] = ()
    unpack_archive: Archive | None = None
    secret_ref: SecretRef | None = None
    http: Http | None = None


class HelmRepository(_Shape, frozen=True):
    url: str = ""
    secret_ref: SecretRef | None = None


class HelmChart(_Shape, frozen=True):
    name: str = ""
    version: str = ""
    repository: HelmRepository | None = None
    helm_version: str = ""


class Manual(_Shape, frozen=True):
    """What somebody else puts there, and stays."""


class DirectoryCopy(_Shape, frozen=True):
    path: str = msgspec.field(default_factory=str)


class InlineReference(_Shape, frozen=True):
    directory_path: str = ""
    name: str = ""


class InlineSource(_Shape, frozen=True):
    secret_ref: InlineReference | None = None
    config_map_ref: InlineReference | None = None


class Inline(_Shape, frozen=True):
    paths: dict[str, str] = {}
    paths_from: tuple[InlineSource, ...] = ()


class Cosign(_Shape, frozen=True):
    certificate_identity: str = ""
    certificate_identity_regexp: str = ""
    certificate_oidc_issuer: str = ""
    certificate_oidc_issuer_regexp: str = ""
    key: str = ""
    public_keys_secret_ref: SecretRef | None = None
    certificate_github_workflow_repository: str = ""
    certificate_github_workflow_ref: str = ""
    certificate_github_workflow_name: str = ""
    certificate_github_workflow_sha: str = ""
    certificate_github_workflow_trigger: str = ""
    trusted_root: str = ""
    ignore_tlog: bool = False


class OciArtifact(_Shape, frozen=True):
    """Any artifact of a registry; vendir itself has no such source (its issue 446)."""

    image: str = ""
    tag: str = ""
    digest: str = ""
    tag_selection: VersionSelection | None = None
    tag_filter: str = ""
    artifact_type: str = ""
    platform: str = ""
    media_types: tuple[str, ...] = ()
    layers: str = ""
    include_config: bool = False
    secret_ref: SecretRef | None = None
    cosign: Cosign | None = None
    response_header_timeout: int = 0
    dangerous_skip_tls_verify: bool = msgspec.field(default=False, name="dangerousSkipTLSVerify")
    plain_http: bool = msgspec.field(default=False, name="plainHTTP")
    additional_ca_certificates: tuple[str, ...] = msgspec.field(default=(), name="additionalCACertificates")


class Contents(_Shape, frozen=True):
    """One thing that is laid in a managed directory."""

    path: str = msgspec.field(default_factory=str)
    lazy: bool = False
    git: Git | None = None
    hg: Hg | None = None
    http: Http | None = None
    image: Image | None = None
    imgpkg_bundle: ImgpkgBundle | None = None
    github_release: GithubRelease | None = None
    helm_chart: HelmChart | None = None
    manual: Manual | None = None
    directory: DirectoryCopy | None = None
    inline: Inline | None = None
    oci_artifact: OciArtifact | None = None
    include_paths: tuple[str, ...] = ()
    exclude_paths: tuple[str, ...] = ()
    ignore_paths: tuple[str, ...] = ()
    legal_paths: tuple[str, ...] | None = None
    """None for the default ones, empty for none."""
    new_root_path: str = ""
    permissions: int | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that are given; a valid one has exactly one."""
        given = {
            "git": self.git,
            "hg": self.hg,
            "http": self.http,
            "image": self.image,
            "githubRelease": self.github_release,
            "helmChart": self.helm_chart,
            "manual": self.manual,
            "directory": self.directory,
            "inline": self.inline,
            "imgpkgBundle": self.imgpkg_bundle,
            "ociArtifact": self.oci_artifact,
        }
        return tuple(name for name in SOURCES if given[name] is not None)

    @property
    def legal(self) -> tuple[str, ...]:
        """The patterns of files that stay whatever else is left out."""
        return DEFAULT_LEGAL_PATHS if self.legal_paths is None else self.legal_paths


class Directory(_Shape, frozen=True):
    """A managed directory: whatever else lies in it is removed."""

    path: str = msgspec.field(default_factory=str)
    contents: tuple[Contents, ...] = ()
    permissions: int | None = None


class Config(_Shape, frozen=True):
    """A whole configuration."""

    api_version: str = msgspec.field(default_factory=str)
    kind: str = msgspec.field(default_factory=str)
    minimum_required_version: str = msgspec.field(default_factory=str)
    directories: tuple[Directory, ...] = ()
