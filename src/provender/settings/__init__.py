"""Settings files: a strict YAML 1.2 reader that knows positions, and its conversion to typed values.

Pure (text in, values out), beside `errors` and `versions` at the bottom of the house; the only YAML reader.
"""

from provender.settings.binding import DecodeHook, convert, load
from provender.settings.reader import MAX_SETTINGS_BYTES, Path, Tree, load_tree

__all__ = ["MAX_SETTINGS_BYTES", "DecodeHook", "Path", "Tree", "convert", "load", "load_tree"]
