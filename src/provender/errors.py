"""The one error tree: every failure that a caller may meet, named by what the caller can do about it.

Pure: no input, no output. The command line renders these; nothing else prints. An operating system's own failure stays
an `OSError` (disk full, permission); the command line maps it to the same exit statuses.
"""

from __future__ import annotations

__all__ = [
    "Conflict",
    "Denied",
    "IntegrityError",
    "InvalidDocument",
    "InvalidProject",
    "InvalidReference",
    "NotFound",
    "ProvenderError",
    "RateLimited",
    "Unauthorized",
    "Unavailable",
    "Unsupported",
    "VerificationFailed",
]


class ProvenderError(Exception):
    """What went wrong, where, and how to fix it.

    `code` is a stable kebab-case identifier, `where` a reference, file:line:column or request (secrets already
    redacted), `hint` says what to do. `exit_status` and `retryable` follow the class unless given.
    """

    code: str = "error"
    exit_status: int = 70
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        where: str | None = None,
        hint: str | None = None,
        exit_status: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        if code is not None:
            self.code = code
        if exit_status is not None:
            self.exit_status = exit_status
        if retryable is not None:
            self.retryable = retryable

    def at(self, where: str) -> ProvenderError:
        """The same error with a place, for the layer that knows it; a place that is already known is kept."""
        if self.where is None:
            self.where = where
        return self


class NotFound(ProvenderError):
    """The artifact, tag, repository or file does not exist (the question was asked and answered)."""

    code = "not-found"
    exit_status = 66


class Unauthorized(ProvenderError):
    """The registry wants credentials, or refused the ones it was given (HTTP 401)."""

    code = "unauthorized"
    exit_status = 77


class Denied(ProvenderError):
    """Known to the registry, but not allowed to do this (HTTP 403), or refused by a rule of ours."""

    code = "denied"
    exit_status = 77


class RateLimited(ProvenderError):
    """The registry asked for a longer pause than this operation may wait (HTTP 429); `asked_s` if it said how long."""

    asked_s: float | None = None
    code = "rate-limited"
    exit_status = 75
    retryable = True


class Unavailable(ProvenderError):
    """No usable answer. Temporary by default; an answer that will not improve has `retryable=False`, exit status 69."""

    code = "unavailable"
    exit_status = 75
    retryable = True


class IntegrityError(ProvenderError):
    """Bytes that must not be used: wrong digest, wrong size, a hostile archive."""

    code = "integrity"
    exit_status = 65


class InvalidReference(ProvenderError):
    """A reference, digest, tag or repository name that breaks the grammar."""

    code = "invalid-reference"
    exit_status = 2


class InvalidDocument(ProvenderError):
    """A manifest, index or other OCI document that breaks its specification or our limits."""

    code = "invalid-document"
    exit_status = 65


class InvalidProject(ProvenderError):
    """The project file, the lock or the configuration is wrong or stale."""

    code = "invalid-project"
    exit_status = 78


class Conflict(ProvenderError):
    """What was asked for would overwrite or contradict something that must stay."""

    code = "conflict"
    exit_status = 1


class Unsupported(ProvenderError):
    """Valid, but nothing that this version or this registry can do."""

    code = "unsupported"
    exit_status = 69


class VerificationFailed(ProvenderError):
    """A signature or attestation did not verify (exit status 82), or required evidence is missing (83)."""

    code = "verification-failed"
    exit_status = 82
