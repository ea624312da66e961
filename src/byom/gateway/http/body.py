"""Request bodies that come compressed."""

from __future__ import annotations

import zlib

from byom.errors import BadRequest, PayloadTooLarge


def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The plain body. Never makes more than ``limit`` bytes of it, however well it was packed."""
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    if name not in (b"gzip", b"x-gzip", b"deflate"):
        raise BadRequest(f"Content-Encoding {name[:40].decode('latin-1')!r} is not supported; use gzip or none.")
    decoder = zlib.decompressobj(wbits=47)
    try:
        plain = decoder.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"The request's body is not valid {name.decode('latin-1')}: {error}") from error
    if len(plain) > limit:
        raise PayloadTooLarge(f"The request's body is larger than {limit} bytes when unpacked.")
    if not decoder.eof or decoder.unused_data:
        raise BadRequest("The request's compressed body ends too early, or something comes after its end.")
    return plain
