"""Images between data URIs and RGB arrays: bytes of the shape (height, width, 3). Pillow and numpy when one comes."""

from __future__ import annotations

import base64
import binascii
import io
import mimetypes
import os
import sys
from pathlib import Path
from typing import Any

from ..contract import CallError

_LARGEST = 64 * 1024 * 1024


def rgb_array(url: Any, where: str) -> Any:
    """The picture of a data URI. Raises `CallError`: status 400 for what is no picture, 501 where a package lacks."""
    data = _bytes_of(url, where)
    numpy, pillow = _packages()
    try:
        with pillow.open(io.BytesIO(data)) as picture:
            upright = picture.convert("RGBA") if "transparency" in picture.info else picture
            return numpy.array(upright.convert("RGB"), dtype=numpy.uint8)
    except Exception as error:  # Pillow's plug-ins raise all kinds for data that are no picture
        raise _refused(f"{where} is no picture that can be read: {type(error).__name__}: {error}") from error


def data_uri_of_array(array: Any) -> str:
    """A PNG of an RGB array."""
    numpy, pillow = _packages()
    made = io.BytesIO()
    pillow.fromarray(numpy.ascontiguousarray(array, dtype=numpy.uint8)).save(made, "PNG")
    return f"data:image/png;base64,{base64.b64encode(made.getvalue()).decode()}"


def data_uri_of_file(path: os.PathLike[str]) -> str:
    """The file as it is."""
    kind = mimetypes.guess_type(os.fspath(path))[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(Path(path).read_bytes()).decode()}"


def _bytes_of(url: Any, where: str) -> bytes:
    if not isinstance(url, str) or not url.startswith("data:"):
        raise _refused(f"{where} must be a data URI (data:image/png;base64,...): nothing is fetched for this model.")
    head, comma, text = url.partition(",")
    if not comma or not head.endswith(";base64"):
        raise _refused(f"{where} must be a data URI in base64.")
    if len(text) > _LARGEST // 3 * 4:
        raise _refused(f"{where} is larger than {_LARGEST // 2**20} MiB.")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise _refused(f"{where} is not valid base64.") from error


def _packages() -> tuple[Any, Any]:
    try:
        import numpy as np
        from PIL import Image
    except ImportError as error:
        raise CallError(
            f"This model was sent an image, and its environment lacks {error.name}. Install there what reads images: "
            f"uv pip install --python {sys.executable} numpy pillow",
            status=501,
            code="missing_package",
        ) from error
    return np, Image


def _refused(message: str) -> CallError:
    return CallError(message, status=400, code="invalid_image")
