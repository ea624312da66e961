"""One worker as the front knows it: its models, its calls, and how it stands."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import Any

from byom.errors import ByomError
from byom.host.child import Backoff
from byom.host.code.configuration import HostConfig
from byom.host.code.errors import CodeEnded, of_frame
from byom.host.code.link import Frame, Link
from byom.host.code.log_book import LogBook
from byom.host.code.ongoing import WINDOW, Ongoing
from byom.host.code.process import WorkerProcess, environment
from byom.host.code.secrecy import Secrecy

_WARM_BACKOFF = Backoff(first=1.0, longest=60.0)
_OWN_END = 2.0
_KILLED_END = 15.0


class LoadFailed(Exception):
    """The code could not be loaded; the message is for the one who added it."""


class Worker:
    """A process that runs calls.

    Args:
        on_free: called whenever it may take another call than before.
    """

    def __init__(self, name: str, config: HostConfig, log: LogBook, secrecy: Secrecy, on_free: Callable[[], None]):
        self.name = name
        self.config = config
        self.process = WorkerProcess(name, log)
        self.models: dict[str, dict[str, Any]] = {}
        self.asynchronous: set[str] = set()
        self.warm: dict[str, str | None] = {}
        """Models whose warm-up has ended: ``None``, or what went wrong."""
        self.retired = ""
        """Why it takes no more calls."""
        self.gone = asyncio.Event()
        """Set when it takes no more calls: retired, or ended."""
        self.hurry = asyncio.Event()
        """Set when a retired worker's calls get no more time."""
        self.stuck = False
        """Whether it has code that does not end; then it is not asked to end by itself."""
        self.drain = config.drain
        self.answered = 0
        self.memory = 0
        self._log = log
        self._secrecy = secrecy
        self._on_free = on_free
        self._link: Link | None = None
        self._calls: dict[int, Ongoing] = {}
        self._numbers = 0
        self._loaded: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()
        self._warm_failures: dict[str, int] = {}
        self._lost = False

    # --- life

    async def start(self) -> None:
        """Returns when the code is loaded and every model's warm-up has ended. Raises `LoadFailed` and TimeoutError."""
        config = self.config
        python = config.python or sys.executable
        env = environment(config.python, config.options.get("env"))
        try:
            self._link = await self.process.start(python, lambda: Link(self._frame, self._on_lost), env)
        except OSError as error:
            raise LoadFailed(f"{python} cannot be started: {error.strerror}.") from error
        self._link.send(
            {
                "op": "load",
                "target": config.target,
                "options": config.load_options(),
                "threads": config.threads,
                "window": WINDOW,
                "contract": config.contract,
            }
        )
        frame = await self._loaded
        if frame["op"] != "loaded":
            raise LoadFailed(str(frame["message"]))
        self.models = {model["name"]: model for model in frame["models"]}
        self.asynchronous = set(frame.get("asynchronous") or ())
        for name in self.models:
            self.warm_up(name)
        while len(self.warm) < len(self.models) and not self._lost:
            self._changed.clear()
            await self._changed.wait()
        if self._lost:
            await self.process.ended.wait()
            raise LoadFailed(f"The code ended its process while it warmed up ({self.process.story()}).")

    def warm_up(self, model: str) -> None:
        """Asks for a model's warm-up, at first or again after it failed."""
        self.warm.pop(model, None)
        self._send({"op": "warm", "model": model})

    def retire(self, reason: str) -> None:
        """It takes no more calls; those that it has may end. Only the first reason counts."""
        if not self.retired:
            self.retired = reason
            self.gone.set()

    def why_gone(self) -> str:
        """Why there is a new one in its place."""
        return (
            f"The last worker was ended: {self.retired}."
            if self.retired
            else (f"The code ended its process ({self.process.story()}).")
        )

    async def idle(self) -> None:
        """Returns when nobody waits for a call of it, or there is no time to wait."""
        while self.alive and self.waited_for and not self.hurry.is_set():
            self._changed.clear()
            waiting = {asyncio.ensure_future(self._changed.wait()), asyncio.ensure_future(self.hurry.wait())}
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waiting:
                    one.cancel()

    def stop(self) -> None:
        """Asks it to end; `kill` makes it."""
        self._send({"op": "stop"})

    def kill(self) -> None:
        self.process.kill()

    def _on_lost(self) -> None:
        self._lost = True
        self._changed.set()
        self.gone.set()
        asyncio.ensure_future(self._bury())  # noqa: RUF006 - ends with the process

    async def _bury(self) -> None:
        try:
            # The process ends by itself, and its keeper says how; or the code has closed our socket, and goes on.
            await asyncio.wait_for(self.process.ended.wait(), _OWN_END)
        except TimeoutError:
            self.process.kill()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.ended.wait(), _KILLED_END)
        if not self._loaded.done():
            story = f"The code ended its process while it was loaded ({self.process.story()})."
            self._loaded.set_result({"op": "failed", "message": story})
        for call in list(self._calls.values()):
            self._end(call, error=self._ended(call.model))

    def _ended(self, model: str) -> ByomError:
        if self.retired:
            return CodeEnded(f"The process of model {model} was ended: {self.retired}.")
        return CodeEnded(f"The code of model {model} ended the process ({self.process.story()}).")

    # --- calls

    @property
    def alive(self) -> bool:
        return not self._lost and not self.process.ended.is_set()

    @property
    def calls(self) -> list[Ongoing]:
        return list(self._calls.values())

    @property
    def waited_for(self) -> int:
        """Calls that somebody waits for."""
        return sum(not call.left for call in self._calls.values())

    def room(self, model: str) -> int:
        """How many more calls of this model it may take."""
        description = self.models.get(model)
        if description is None or self.retired or not self.alive or self.warm.get(model, "") is not None:
            return 0
        if model in self.asynchronous:
            room = self.config.async_calls - len(self._calls)
        else:
            room = self.config.threads - sum(call.model not in self.asynchronous for call in self._calls.values())
        own = description.get("concurrency")
        if own:
            room = min(room, int(own) - sum(call.model == model for call in self._calls.values()))
        return room

    def begin(self, model: str, kind: str, request: dict[str, Any], about: dict[str, Any]) -> Ongoing:
        """Starts a call; ``about``: ``user``, ``config``, ``plugin_config``."""
        self._numbers += 1
        call = Ongoing(self._numbers, model, self._taken)
        self._calls[call.id] = call
        self._send({"op": "call", "id": call.id, "model": model, "kind": kind, "request": request, **about})
        return call

    def leave(self, call: Ongoing) -> None:
        """Nobody waits for this call any more: its code is told to stop."""
        call.left = True
        self._changed.set()
        if not call.ended:
            self._send({"op": "cancel", "id": call.id})

    def _taken(self, number: int, events: int) -> None:
        self._send({"op": "ack", "id": number, "events": events})

    def _send(self, message: Frame) -> None:
        if self._link is not None:
            self._link.send(message)

    def _frame(self, frame: Frame) -> None:
        operation = frame.get("op")
        call = self._calls.get(frame["id"]) if "id" in frame else None
        if operation == "event":
            if call is not None:
                call.add(frame["event"])
        elif operation == "done":
            if call is not None:
                self.answered += 1
                self._end(call, result=frame.get("result"))
        elif operation == "error":
            if call is not None:
                self._failed(call, frame)
        elif operation == "warm":
            self._warmed(frame)
        elif operation == "note":
            self._log.write(self.name, str(frame["message"]))
        elif not self._loaded.done():
            self._trace(frame)
            self._loaded.set_result({**frame, "message": self._secrecy.hide(str(frame.get("message", "")))})

    def _failed(self, call: Ongoing, frame: Frame) -> None:
        message = self._secrecy.hide(str(frame.get("message", "")))
        if frame.get("kind") != "Cancelled":
            self._log.write(self.name, f"{call.request_id}: a call of model {call.model} failed: {message}")
            self._trace(frame)
            self.answered += 1
        self._end(call, error=of_frame(frame, message))

    def _warmed(self, frame: Frame) -> None:
        error = frame.get("error")
        self.warm[frame["model"]] = self._secrecy.hide(str(error)) if error is not None else None
        if error is not None:
            self._log.write(self.name, f"model {frame['model']} did not get ready: {error}")
            self._trace(frame)
            self._try_again(frame["model"])
        self._changed.set()
        self._on_free()

    def _try_again(self, model: str) -> None:
        failures = self._warm_failures[model] = self._warm_failures.get(model, 0) + 1
        delay = _WARM_BACKOFF.delay(failures)

        def again() -> None:
            if self.alive and not self.retired and self.warm.get(model) is not None:
                self.warm_up(model)

        asyncio.get_running_loop().call_later(delay, again)

    def _trace(self, frame: Frame) -> None:
        if frame.get("trace"):
            self._log.write(self.name, str(frame["trace"]).rstrip())

    def _end(self, call: Ongoing, result: dict[str, Any] | None = None, error: ByomError | None = None) -> None:
        self._calls.pop(call.id, None)
        call.end(result, error)
        self._changed.set()
        self._on_free()
