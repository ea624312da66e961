"""A small stand-in for AgentStudio's own model server: it unpickles as that one does, with stock pickle.

``python -m tests.dialects.agentstudio.model_server`` writes its port. It answers with what it was given, as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.dialects.agentstudio.stand_ins import Array, installed

REPLIES: dict[str, tuple[Any, Any]] = {
    "gpt-counted": ("counted", {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "other": "x"}),
    "gemini-total": ("from gemini", {"total_tokens": 5}),
    "gpt-none": ("local", {"total_tokens": None}),
    "gpt-empty": ("", {}),
    "gpt-list": (["not text"], {}),
    "gpt-object": ("evil", {"made": base64}),
}


def told(messages: list[Any]) -> str:
    result = []
    for one in messages:
        fields = one if isinstance(one, dict) else vars(one)
        content = fields["content"]
        if isinstance(content, Array):
            content = [*content.shape, hashlib.sha256(content.data).hexdigest()]
        result.append([type(one).__name__, fields["role"], content])
    return json.dumps(result)


class Hostile:
    def __reduce__(self) -> Any:
        return print, ("run",)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert sorted(body) == ["messages", "model"]
        messages = pickle.loads(base64.b64decode(body["messages"]))
        model = body["model"]
        if self.path != "/generate" or ("gpt" not in model and "gemini" not in model) or model == "gpt-broken":
            self._send(500, b"Internal Server Error")
            return
        message, info = REPLIES.get(model, (told(messages), {"prompt_tokens": 1, "completion_tokens": 2}))
        if model == "gpt-object":
            info = Hostile()
        values = {"message": message, "info": info}
        self._send(200, json.dumps({name: _written(value) for name, value in values.items()}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given: object) -> None:
        pass


def _written(value: Any) -> str:
    return base64.b64encode(pickle.dumps(value)).decode()


def main() -> None:
    with installed(), ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
