"""A small picture, as an array and as a part of a message."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

PIXELS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]], [[1, 2, 3], [4, 5, 6]]], dtype=np.uint8)


def data_uri(kind: str = "PNG", mode: str = "RGB") -> str:
    made = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(made, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(made.getvalue()).decode()}"


def image_part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}
