"""The parent of a worker: it alone outlives both sides, and leaves nothing behind.

``start.py keeper DESCRIPTOR COMMAND…`` runs the command in a session of its own, with the descriptor. Standard input
is a socket to the host. When it ends (the host has stopped, or was killed), everything that descends from the command
is killed, including what has left its session or was orphaned, because on Linux orphans come to the keeper. When the
command ends by itself, what it left running is killed too, and one line, ``{"exit": code}`` or ``{"signal": number}``,
says how it went.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import List, Optional  # noqa: UP035 - evaluated on Python 3.9

from . import system, tree

_LIFE = 0
_LONGEST_END = 10.0
_OOM_SCORE = "600"


class Keeper:
    """One worker and everything that it starts."""

    def __init__(self, descriptor: int, command: List[str]) -> None:  # noqa: UP006
        self._descriptor = descriptor
        self._command = command
        self._worker = 0
        self._status: Optional[int] = None  # noqa: UP045

    def run(self) -> int:
        """Returns when nothing is left of the worker."""
        system.adopt_orphans()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        woken, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._worker = self._spawn()
        self._say({"pid": self._worker})
        poll = select.poll()
        poll.register(_LIFE, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while self._status is None:
            for descriptor, _ in poll.poll():
                if descriptor == woken:
                    os.read(woken, 4096)
                    self._reap()
                elif not self._host_lives():
                    self._end_all()
                    return 0
        status = self._status
        self._end_all()
        if os.WIFSIGNALED(status):
            self._say({"signal": os.WTERMSIG(status)})
        else:
            self._say({"exit": os.WEXITSTATUS(status)})
        return 0

    def _spawn(self) -> int:
        keeper = os.getpid()
        pid = os.fork()
        if pid:
            os.close(self._descriptor)  # so that the host sees its end when the worker's is closed
            return pid
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            system.die_with_parent()
            if os.getppid() != keeper:
                os._exit(1)
            os.dup2(os.open(os.devnull, os.O_RDONLY), _LIFE)
            with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
                file.write(_OOM_SCORE)  # if memory runs out, user code goes before the hub
            os.execvp(self._command[0], self._command)  # noqa: S606 - the command is ours, and no shell reads it
        except OSError as error:
            sys.stderr.write(f"cannot run {self._command[0]}: {error.strerror}\n")
            sys.stderr.flush()
        finally:
            os._exit(127)

    def _host_lives(self) -> bool:
        try:
            return bool(os.read(_LIFE, 4096))
        except OSError:
            return False

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self._worker:
                    self._status = status

    def _end_all(self) -> None:
        until = time.monotonic() + _LONGEST_END
        if self._worker:
            with contextlib.suppress(OSError):
                os.killpg(self._worker, signal.SIGKILL)
        while tree.available() and time.monotonic() < until:
            left = tree.below(os.getpid())
            if not left:
                break
            # What forks faster than it is killed is stopped first.
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in left:
                    with contextlib.suppress(OSError):
                        os.kill(pid, number)
            self._reap()
            time.sleep(0.001)
        self._reap()

    @staticmethod
    def _say(fact: object) -> None:
        with contextlib.suppress(OSError):  # the host has gone: there is nobody to tell
            os.write(_LIFE, json.dumps(fact).encode() + b"\n")


def main(arguments: List[str]) -> int:  # noqa: UP006
    return Keeper(int(arguments[0]), arguments[1:]).run()
