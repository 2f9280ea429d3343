"""The pure model of the OCI specifications: no input, no output, no clock, no environment.

The lowest layer but for `versions` and `errors`; everything else speaks in these words.
"""

from provender.oci.descriptor import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor
from provender.oci.digest import Digest
from provender.oci.document import MAX_DOCUMENT_BYTES, Document, Index, Manifest
from provender.oci.platform import Platform
from provender.oci.reference import Reference

__all__ = [
    "EMPTY_BYTES",
    "EMPTY_DESCRIPTOR",
    "MAX_DOCUMENT_BYTES",
    "Descriptor",
    "Digest",
    "Document",
    "Index",
    "Manifest",
    "Platform",
    "Reference",
]
