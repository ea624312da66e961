"""Images that a message names by path. They are read only where somebody has said so, and only below one folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from byom.models.agentstudio.errors import WireError

MAX_FILE = 32 * 2**20
_REFUSED = (
    "A message names an image by its path, which is a file on the caller's machine. Send the image as a numpy array, "
    "or, where both machines share a folder, have the operator allow it."
)
_BEGINNINGS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


class ImageFolder:
    """Reads images below ``folder``; ``None`` refuses every path."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder.resolve() if folder is not None else None

    def read(self, path: str) -> tuple[str, bytes]:
        """Media type and content. Raises `WireError` for everything that is not an image file below the folder."""
        if self._folder is None:
            raise WireError(_REFUSED, code="path_not_allowed")
        try:
            place = (self._folder / path).resolve()
            # First of all, so that nobody learns what there is elsewhere.
            if not place.is_relative_to(self._folder):
                raise WireError("A message names a file outside the allowed folder.", code="path_not_allowed")
            data = _content(place)
        except (OSError, ValueError, RuntimeError) as error:
            raise WireError("A message names a file that cannot be read.", code="path_not_readable") from error
        return _media_type(data), data


def _content(place: Path) -> bytes:
    # Neither a link that was put there meanwhile nor a pipe that never ends.
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE:
            raise WireError("A message names something that is not an image file.", code="path_not_readable")
        return file.read(MAX_FILE)


def _media_type(data: bytes) -> str:
    for beginning, kind in _BEGINNINGS:
        if data.startswith(beginning):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise WireError("A message names a file that is not an image.", code="path_not_readable")
