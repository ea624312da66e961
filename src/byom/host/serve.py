"""Runs a host application as a process that belongs to the one that started it.

The server is uvicorn with httptools: its disconnect and back-pressure semantics are what cancellation rests on.
When the process listens it writes one line, ``{"port": N}``, to its standard output. It ends when its standard
input does: a parent that dies, however suddenly, takes it along.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading

import uvicorn

from byom.host.app import HostApp

TOKEN_VARIABLE = "BYOM_UPSTREAM_TOKEN"  # noqa: S105 - the name of a variable
_MAX_TOKEN = 4096
_FORCE_AFTER = 3.0


class _AnnouncingServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            sys.stdout.write(json.dumps({"port": sockets[0].getsockname()[1]}) + "\n")
            sys.stdout.flush()


def read_token(from_stdin: bool) -> str | None:
    """The token from the first line of standard input, or from the environment (and then removed from there).

    Raises ValueError where standard input has no such line.
    """
    if not from_stdin:
        return os.environ.pop(TOKEN_VARIABLE, None)
    line = b""
    # Byte by byte: what follows the line is for whoever watches for the end of input.
    while (char := os.read(0, 1)) not in (b"", b"\n"):
        line += char
        if len(line) > _MAX_TOKEN:
            raise ValueError(f"the token on standard input is longer than {_MAX_TOKEN} bytes")
    token = line.decode("ascii").strip()
    if not token:
        raise ValueError("there is no token on standard input")
    return token


def serve(app: HostApp, host: str, port: int, *, follow_stdin: bool = True) -> None:
    """Serves until it is signalled or, with ``follow_stdin``, until standard input ends."""
    listening = socket.create_server((host, port), backlog=2048)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    server = _AnnouncingServer(config)
    if follow_stdin:
        threading.Thread(target=_follow_stdin, args=(server,), name="stdin", daemon=True).start()
    server.run(sockets=[listening])


def _follow_stdin(server: uvicorn.Server) -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass  # closed: the same as its end
    # Nobody is left to answer to, so calls in flight are not waited for.
    server.config.timeout_graceful_shutdown = 1
    server.should_exit = True
    threading.Event().wait(_FORCE_AFTER)
    os._exit(1)  # a model that does not end its work must not outlive the parent
