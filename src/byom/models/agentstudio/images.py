"""Images of OpenAI's requests, decoded for a server that takes pixels."""

from __future__ import annotations

import base64
import binascii
import io

from byom.errors import BadRequest, MissingExtra
from byom.models.agentstudio.pixels import Pixels

MAX_PIXELS = 40_000_000
"""Of one image: a small file may be a very large image."""
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


def pixels_of(url: object, place: str) -> Pixels:
    """The image of a data URI as RGB. Raises `BadRequest` naming ``place``, and `MissingExtra` without Pillow."""
    if not isinstance(url, str) or not url.startswith("data:image/"):
        raise BadRequest(
            "AgentStudio takes pixels: give the image as a data URI (data:image/png;base64,…). Nothing is fetched.",
            param=place,
            code="unsupported_content",
        )
    head, _, text = url.partition(",")
    if not head.endswith(";base64"):
        raise BadRequest("The image's data URI is not base64.", param=place)
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadRequest("The image's data URI is not valid base64.", param=place) from error
    return _decoded(data, place)


def _decoded(data: bytes, place: str) -> Pixels:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("images", "Decoding images for AgentStudio") from error
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadRequest(f"The image has more than {MAX_PIXELS} pixels.", param=place)
            rgb = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, *bombs) as error:
        raise BadRequest("The image cannot be decoded: it is not a PNG, JPEG, WebP or GIF.", param=place) from error
    return Pixels(rgb.height, rgb.width, 3, rgb.tobytes())
