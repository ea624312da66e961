"""Runs a foreign program that must not outlive the one that started it: ``python -I leash.py -- program argument…``

Only the standard library, and a file of its own: it runs without BYOM being importable. The program ends, with
everything that it started, when the leash's standard input ends, when the leash is told to end, and when the leash is
killed. The leash ends with the program's exit code.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _keep_descendants() -> None:
    """A process whose parent has died becomes a child of this one, not of init, and so can be found."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = entry.read_text(errors="replace")
            found.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(entry.parent.name))
    return found


def _kill_descendants() -> None:
    """Again and again until none is left: a process may start another while it is looked for."""
    for _ in range(20):
        children, open_ones, found = _children(), [os.getpid()], []
        while open_ones:
            below = children.get(open_ones.pop(), [])
            open_ones += below
            found += below
        if not found:
            return
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        for process in children.get(os.getpid(), []):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, 0)


def main(argv: list[str]) -> int:
    if len(argv) < 2 or argv[0] != "--":
        return 2
    _keep_descendants()  # not `_die_with_parent`: whoever dies at once can end nobody
    try:
        program = subprocess.Popen(argv[1:], stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)
    except OSError as error:
        sys.stderr.write(f"{argv[1]} cannot be started: {error.strerror}\n")
        return 127

    def end(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            program.terminate()

    def follow_stdin() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        _kill_descendants()
        os._exit(137)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    threading.Thread(target=follow_stdin, name="stdin", daemon=True).start()
    code = program.wait()
    _kill_descendants()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
