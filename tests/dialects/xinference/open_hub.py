"""A hub without keys, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = (
    "import sys; from byom.server.serve import serve; from byom.settings import load_settings; "
    "serve(load_settings({'home': sys.argv[1], 'port': 0, 'no_auth': True, 'drain_seconds': 0.0}), "
    "on_ready=lambda url: print(url, flush=True))"
)


@contextmanager
def open_hub(home: Path) -> Iterator[str]:
    """Its URL; the process has ended when the block is left."""
    home.mkdir()
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(home)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
