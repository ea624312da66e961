"""The worker: loads the user's code, and runs the calls that its host sends.

The main thread loads the code (some of it insists on that thread) and then runs the event loop that asynchronous
code shares. One thread reads the host's messages. Calls of synchronous code, and of asynchronous code that turned
out to block, run in a pool of threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import functools
import importlib
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Optional, Set  # noqa: UP035 - evaluated on Python 3.9

from . import driving, failures
from .calls import Call, Entry, soon
from .channel import Channel
from .contract import Served
from .watch import LoopWatch

Load = Callable[[str, Dict[str, Any]], List[Served]]  # noqa: UP006

_THREADS = 32
_WINDOW = 32


class Runner:
    """One worker process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._loop = asyncio.new_event_loop()
        self._entries: Dict[str, Entry] = {}  # noqa: UP006
        self._calls: Dict[int, Call] = {}  # noqa: UP006
        self._waiting: Set[Call] = set()  # noqa: UP006
        self._tasks: Dict[Any, Call] = {}  # noqa: UP006
        self._lock = threading.Lock()
        self._in_threads = 0
        self._pool: Optional[ThreadPoolExecutor] = None  # noqa: UP045
        self._watch = LoopWatch(self._loop, lambda: self._in_threads > 0, self._blocks)
        self._window = _WINDOW

    def run(self) -> int:
        """Serves until the host has gone or says stop."""
        frame = self._channel.read()
        if frame is None:
            return 0
        asyncio.set_event_loop(self._loop)
        threads = int(frame.get("threads") or _THREADS)
        self._window = int(frame.get("window") or _WINDOW)
        try:
            load = _loader(frame.get("contract") or "")
            served = load(frame["target"], frame.get("options") or {})
        except BaseException as error:  # noqa: BLE001 - user code: SystemExit and KeyboardInterrupt too
            self._channel.send({"op": "failed", **failures.of_load(error)})
            return 0
        self._entries = {one.description.name: Entry(one) for one in served}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="byom-call")
        self._loop.set_default_executor(ThreadPoolExecutor(threads, thread_name_prefix="byom-code"))
        self._channel.send(
            {
                "op": "loaded",
                "models": [one.description.to_dict() for one in served],
                "asynchronous": [one.description.name for one in served if one.asynchronous],
            }
        )
        self._watch.start()
        threading.Thread(target=self._read, name="byom-host", daemon=True).start()
        self._loop.run_forever()
        return 0

    # --- what the host says

    def _read(self) -> None:
        while True:
            frame = self._channel.read()
            if frame is None:
                os._exit(0)
            operation = frame.get("op")
            if operation == "call":
                self._accept(frame)
            elif operation in ("ack", "cancel"):
                call = self._calls.get(frame["id"])
                if call is not None:
                    call.grant(int(frame["events"])) if operation == "ack" else call.cancel()
            elif operation == "warm":
                entry = self._entries[frame["model"]]
                threading.Thread(target=self._warm, args=(entry,), name="byom-warm", daemon=True).start()
            elif operation == "stop":
                self._stop()

    def _accept(self, frame: Dict[str, Any]) -> None:  # noqa: UP006
        entry = self._entries[frame["model"]]
        call = Call(frame, entry, self._channel, self._window)
        with self._lock:
            self._calls[call.id] = call
            in_threads = entry.in_threads
            if not in_threads:
                self._waiting.add(call)
                self._watch.entered()
        if in_threads:
            self._submit(call)
        else:
            self._loop.call_soon_threadsafe(self._start, call)

    def _submit(self, call: Call) -> None:
        if self._pool is not None:
            self._pool.submit(self._run_in_thread, call)

    def _run_in_thread(self, call: Call) -> None:
        if not call.claim():
            return
        with self._lock:
            self._in_threads += 1
        driving.thread_loop()
        try:
            driving.in_thread(call, self._channel)
        finally:
            with self._lock:
                self._in_threads -= 1
                self._calls.pop(call.id, None)

    # --- the shared loop

    def _start(self, call: Call) -> None:
        if call.entry.in_threads:
            with self._lock:
                if call in self._waiting:
                    self._waiting.discard(call)
                    self._watch.left()
                    self._submit(call)
            return
        task = self._loop.create_task(self._run_on_loop(call))
        self._tasks[task] = call

    async def _run_on_loop(self, call: Call) -> None:
        task: Any = asyncio.current_task()
        try:
            # Claimed at its first step, not when the task was made: those behind a call that blocks can still go.
            with self._lock:
                if not call.claim():
                    return
                self._waiting.discard(call)
            call.interrupt_with(functools.partial(soon, self._loop, task.cancel))
            answered = await driving.noting(driving.on_loop(call, self._channel), call)
            with self._lock:
                self._calls.pop(call.id, None)
                self._watch.left()
            if answered and not call.suspended:
                call.entry.straight = True
                if call.blocked_at:
                    self._move(call.entry, call.blocked_at)
        finally:
            self._tasks.pop(task, None)

    def _blocks(self, task: Any, place: str) -> None:
        """Called by the watch: a task keeps the loop from turning.

        Only code that never waits on the loop goes to threads: such code has nothing that belongs to the loop. That
        is known once one call has run through.
        """
        call = self._tasks.get(task)
        if call is None:
            return
        call.blocked_at = place
        entry = call.entry
        if entry.suspends:
            if not entry.told:
                entry.told = True
                self._note(f"{entry.name}: asynchronous code blocks its event loop at {place}; others wait meanwhile")
        elif entry.straight:
            self._move(entry, place)

    def _move(self, entry: Entry, place: str) -> None:
        """From now on, calls of this model run in threads, those that have not begun included."""
        with self._lock:
            if entry.in_threads or entry.suspends:
                return
            entry.in_threads = True
            moved = [one for one in self._waiting if one.entry is entry]
            self._waiting.difference_update(moved)
            for _ in moved:
                self._watch.left()
        for one in sorted(moved, key=lambda each: each.id):
            self._submit(one)
        self._note(
            f"{entry.name}: asynchronous code blocks its event loop at {place}; its calls run in threads from now on"
        )

    def _note(self, text: str) -> None:
        self._channel.send({"op": "note", "message": text})

    # --- beginning and end

    def _warm(self, entry: Entry) -> None:
        driving.thread_loop()
        message: Dict[str, Any] = {"op": "warm", "model": entry.name, "error": None}  # noqa: UP006
        try:
            entry.served.warm_up()
        except BaseException as error:  # noqa: BLE001 - user code
            told = failures.of_call(error)
            message.update(error=told["message"], trace=told.get("trace"))
        self._channel.send(message)

    def _stop(self) -> None:
        for entry in self._entries.values():
            try:
                entry.served.close()
            except BaseException as error:  # noqa: BLE001 - user code, and the last that it does
                sys.stderr.write(failures.trace(error))
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)  # threads that still run user code are not waited for


def _loader(named: str) -> Load:
    """What reads the target: the contracts of this package, or ``module:function`` of the environment."""
    module, _, name = (named or ".contracts.choose:load").partition(":")
    found = importlib.import_module(module, __package__)
    load: Load = getattr(found, name)
    return load


def main(arguments: List[str]) -> int:  # noqa: UP006
    """``start.py runner DESCRIPTOR``: the socket to the host is an inherited descriptor."""
    channel = Channel(int(arguments[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):
        faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    code = Runner(channel).run()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    os._exit(code)
