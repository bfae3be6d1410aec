"""Weights on disk: read with suspicion, written whole or not at all."""

from videoswin.weights.files import (
    read_header,
    read_tensors,
    replace_file,
    replace_folder,
    settled_folder,
    write_tensors,
)

__all__ = ["read_header", "read_tensors", "replace_file", "replace_folder", "settled_folder", "write_tensors"]
