"""A caller that sees every byte: one socket, no HTTP library in between."""

from __future__ import annotations

import json
import socket
from typing import Any, Self

from byom.testing import FakeUpstream


class RawCaller:
    """Speaks HTTP/1.1 over one blocking socket."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self.socket = socket.create_connection((upstream.host, upstream.port), timeout=10)
        self._prefix = upstream.prefix

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.socket.close()

    def post(self, path: str, fields: dict[str, Any]) -> None:
        body = json.dumps(fields).encode()
        head = f"POST {self._prefix}{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def chat(self, **fields: Any) -> None:
        self.post("/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})

    def read_until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            piece = self.socket.recv(65536)
            if not piece:
                break
            data += piece
        return data

    def read_all(self) -> tuple[bytes, bool]:
        """Everything until the end, and whether the end was a reset."""
        data = b""
        try:
            while piece := self.socket.recv(65536):
                data += piece
        except ConnectionResetError:
            return data, True
        return data, False


def unchunk(answer: bytes) -> tuple[list[bytes], bool]:
    """The HTTP chunks of a chunked answer, and whether the last one came."""
    rest = answer.partition(b"\r\n\r\n")[2]
    chunks: list[bytes] = []
    while rest:
        size_text, _, rest = rest.partition(b"\r\n")
        size = int(size_text, 16)
        if size == 0:
            return chunks, True
        chunks.append(rest[:size])
        rest = rest[size + 2 :]
    return chunks, False
