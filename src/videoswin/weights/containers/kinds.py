"""What a file is that holds no weights, by its first bytes: people give pointers, error pages and archives by mistake."""

from videoswin.weights.containers.unreadable import DAMAGED, Unreadable

__all__ = ["what_it_is"]

_OURS = "Give a .pth, .pt or .safetensors file"
_WEIGHTS_FIRST = "Give the weights; a verb that takes both takes them first and the video second"
_UNPACK = "Unpack it, and give the file of weights inside"
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "it is a pointer of Git LFS, not the file itself", "Fetch it: git lfs pull"),
    (0, b"version https://hawser", "it is a pointer of Git LFS, not the file itself", "Fetch it: git lfs pull"),
    (0, b"\x1f\x8b", "it is packed with gzip", _UNPACK),
    (0, b"BZh", "it is packed with bzip2", _UNPACK),
    (0, b"\xfd7zXZ\0", "it is packed with xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "it is packed with zstd", _UNPACK),
    (0, b"7z\xbc\xaf", "it is a 7z archive", _UNPACK),
    (0, b"Rar!", "it is a RAR archive", _UNPACK),
    (257, b"ustar", "it is a tar archive (or a PyTorch file of before 2017)", _UNPACK),
    (0, b"\x89HDF", "it is an HDF5 file (Keras)", _OURS),
    (4, b"TFL3", "it is a TensorFlow Lite file", _OURS),
    (0, b"\x93NUMPY", "it is an array of numpy's (.npy)", _OURS),
    (0, b"GGUF", "it is a GGUF file", _OURS),
    (4, b"ftyp", "it is a video, where weights were expected", _WEIGHTS_FIRST),
    (0, b"\x1aE\xdf\xa3", "it is a video, where weights were expected", _WEIGHTS_FIRST),
    (0, b"\xff\xd8\xff", "it is a picture", _OURS),
    (0, b"\x89PNG", "it is a picture", _OURS),
    (0, b"%PDF", "it is a PDF", _OURS),
)
_ONNX_HINT = "predict and evaluate take exported files as --weights"


def what_it_is(head: bytes, size: int) -> Unreadable:
    """The reason why a file with these first bytes (512, or all) and this size is not read."""
    if size == 0:
        return Unreadable("the file is empty: 0 bytes are too few for any weights")
    for at, signature, reason, hint in _SIGNATURES:
        if head[at : at + len(signature)] == signature:
            return Unreadable(reason, hint)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<script", b"<!--")):
        return Unreadable(
            "it is an HTML page, an error or a question of a website, and no PyTorch file", "Download the file itself"
        )
    if text.startswith((b"<?xml", b"<error")):
        return Unreadable("it is an XML text, an error message or an OpenVINO model", _OURS)
    if text.startswith((b"{", b"[")):
        return Unreadable("it is a JSON text", _OURS)
    if head[:1] == b"\x08" and head[2:3] == b"\x12" and (b"onnx" in head or b"pytorch" in head):
        return Unreadable("it is an ONNX file, an exported program and not weights", _ONNX_HINT)
    if not head.strip(b"\0"):
        return Unreadable("it begins with nothing but zeros: the download did not finish")
    if size < 16:
        return Unreadable(f"the file has {size} bytes, too few for any weights")
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return Unreadable(f"it is a text ({head[:40].decode('ascii')!r} ...)", _OURS)
    return Unreadable("it is no file of weights that is known here (no PyTorch file, no safetensors)", DAMAGED)
