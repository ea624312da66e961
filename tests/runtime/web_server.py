"""A web server with the faults that downloads meet: real sockets, on loopback."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Site:
    """What the server has, and how it behaves. Set the fields at any time."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.cut_after: list[int] = []
        """For each of the next answers: end the connection after so many bytes."""
        self.statuses: list[int] = []
        """For each of the next requests: answer this status instead."""
        self.token: str | None = None
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.redirect_to: str | None = None
        self.url = ""
        self.hold: threading.Event | None = None
        """Where it is set, an answer stops half way until the event is set."""

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def add_repository(self, model_id: str, files: dict[str, bytes], *, digests: dict[str, str] | None = None) -> None:
        """Lays out a repository as the Hugging Face hub does."""
        siblings = []
        for name, content in files.items():
            digest = (digests or {}).get(name) or hashlib.sha256(content).hexdigest()
            siblings.append({"rfilename": name, "size": len(content), "lfs": {"sha256": digest, "size": len(content)}})
            self.files[f"/{model_id}/resolve/abc123/{name}"] = content
        listing = json.dumps({"id": model_id, "sha": "abc123", "siblings": siblings}).encode()
        self.files[f"/api/models/{model_id}/revision/main"] = listing


def _handler(site: Site) -> type[http.server.BaseHTTPRequestHandler]:  # noqa: C901 - the methods of one class
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            site.requests.append((path, {name.lower(): value for name, value in self.headers.items()}))
            if site.statuses and (status := site.statuses.pop(0)) != 200:
                self._answer(status, b"no")
            elif site.token is not None and self.headers.get("authorization") != f"Bearer {site.token}":
                self._answer(401, b"who?")
            elif site.redirect_to is not None and "/resolve/" in path:
                self.send_response(302)
                self.send_header("location", site.redirect_to + path)
                self.send_header("content-length", "0")
                self.end_headers()
            elif path not in site.files:
                self._answer(404, b"none")
            else:
                self._file(site.files[path])

        def _file(self, content: bytes) -> None:
            etag = f'"{hashlib.md5(content).hexdigest()}"'
            start = 0
            asked = self.headers.get("range")
            if asked and site.ranges and self.headers.get("if-range", etag) == etag:
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                if start >= len(content):
                    self._answer(416, b"")
                    return
                self.send_response(206)
                self.send_header("content-range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("content-length", str(len(content) - start))
            self.send_header("etag", etag)
            self.end_headers()
            self._body(content[start:])

        def _body(self, body: bytes) -> None:
            if site.cut_after:
                self.wfile.write(body[: site.cut_after.pop(0)])
                self.close_connection = True
                return
            if site.hold is not None:
                half = len(body) // 2
                self.wfile.write(body[:half])
                self.wfile.flush()
                site.hold.wait(10)
                body = body[half:]
            self.wfile.write(body)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            return

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True

    return Handler


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        if site.hold is not None:
            site.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()
