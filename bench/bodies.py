"""The requests of the benchmark, as files the drivers post, and one careful way to send them."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from legs.leg import PLAIN, Target


@dataclass(frozen=True, slots=True)
class Bodies:
    """The request bodies, each written once per run."""

    folder: Path
    _paths: dict[str, Path] = field(default_factory=dict)

    def path(self, model: str) -> Path:
        """File with the request for ``model``: plain for one, streaming with usage for the others."""
        if model not in self._paths:
            self._paths[model] = self.folder / f"{model}.json"
            self._paths[model].write_text(json.dumps(_request(model)))
        return self._paths[model]


def _request(model: str) -> dict[str, object]:
    request: dict[str, object] = {
        "model": model,
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 128,
    }
    if model != PLAIN:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    return request


def ask(target: Target, body: bytes, timeout_s: float = 30.0) -> tuple[int, bytes]:
    """One request with the standard library: status and whole body. Raises ``OSError`` or ``HTTPException``.

    ``timeout_s`` is for the whole answer: a stream kept alive by comments alone must not hold the benchmark up.
    """
    deadline = time.monotonic() + timeout_s
    parts = urlsplit(target.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("POST", parts.path, body, {"Content-Type": "application/json", **target.headers})
        answer = connection.getresponse()
        parts_read: list[bytes] = []
        while part := answer.read1():
            parts_read.append(part)
            if time.monotonic() > deadline:
                raise TimeoutError(f"no whole answer within {timeout_s} s")
        return answer.status, b"".join(parts_read)
    finally:
        connection.close()
