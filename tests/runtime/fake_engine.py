"""An engine whose behaviour a test chooses: a real process with a real socket, and no weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from byom.runtime.engines.arguments import Argument
from byom.runtime.engines.seam import Command, Installed, Launch, Offer, Slot
from byom.runtime.specs.read import read_spec
from byom.runtime.weights.info import WeightsInfo

PROGRAM = """
import http.server, os, signal, subprocess, sys, time
mode, port = sys.argv[1], int(sys.argv[2])
print("begun", mode, flush=True)
if mode == "crash":
    print("RuntimeError: the weights are of clay", file=sys.stderr)
    sys.exit(7)
if mode == "silent":
    time.sleep(600)
if mode == "tells-token":
    print("the key is", os.environ["ENGINE_TOKEN"], file=sys.stderr)
    sys.exit(1)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "family":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print("child", child.pid, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
try:
    http.server.ThreadingHTTPServer.allow_reuse_address = False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
except OSError as error:
    sys.exit(f"OSError: {error}")
server.serve_forever()
"""


class FakeEngine:
    name = "fake"
    title = "Fake engine"
    arguments: tuple[Argument, ...] = ()
    quantizes_on_load = False
    needs_gpu = False

    def __init__(
        self, mode: str = "good", *, ports: list[int] | None = None, version: str | None = "1", program: str = PROGRAM
    ) -> None:
        self.mode = mode
        self.ports = ports or []
        self.version = version
        self.program = program
        self.folders: list[Path] = []

    def installed(self) -> Installed:
        return Installed(version=self.version, hint="pip install fake")

    def against(self, offer: Offer, /) -> tuple[str, ...]:
        return ()

    def kv_element_size(self, arguments: dict[str, Any]) -> float:
        return 2.0

    def command(self, launch: Launch, slot: Slot, /) -> Command:
        self.folders.append(slot.folder)
        port = self.ports.pop(0) if self.ports else slot.port
        return Command(
            argv=(sys.executable, "-c", self.program, self.mode, str(port)),
            env={"ENGINE_TOKEN": slot.token},
            port=port,
            served_model=launch.name,
        )


def fake_launch(name: str = "clay") -> Launch:
    spec = read_spec(
        {
            "model_name": name,
            "model_ability": ["generate"],
            "model_specs": [{"model_format": "pytorch", "model_size_in_billions": 1, "model_id": "clay/clay"}],
        }
    ).spec
    return Launch(
        name=name, spec=spec, variant=spec.variants[0], path=Path("/"), info=WeightsInfo(bytes=1), context_length=64
    )
