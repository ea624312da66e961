"""All workers of a host: which one takes a call, how they stand, and what ends them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import Any

from byom.errors import ModelNotFound
from byom.host.caller import current_request
from byom.host.code.configuration import HostConfig
from byom.host.code.errors import CodeTimeout, ModelFailed
from byom.host.code.guard import Guard
from byom.host.code.log_book import LogBook
from byom.host.code.ongoing import Ongoing
from byom.host.code.place import Place
from byom.host.code.process import end_strays
from byom.host.code.queue import Begun, CallQueue
from byom.host.code.secrecy import Secrecy
from byom.host.code.worker import Worker

_STOP_GRACE = 2.0
_OVER_LIMIT_DRAIN = 1.0


class Pool:
    """Starts workers, and gives calls to them. Must be made and used on one running event loop."""

    def __init__(self, config: HostConfig, log: LogBook, secrecy: Secrecy, *, sweeps: bool = False) -> None:
        """``sweeps``: children of this process that are not workers are strays of user code, and are ended."""
        self._sweeps = sweeps
        self.config = config
        self.models: dict[str, dict[str, Any]] = {}
        """What the code told of its models when it was loaded last."""
        self._log = log
        self._secrecy = secrecy
        self._queue = CallQueue(self._choose)
        self._queue.limit = config.queue
        self._leaving: dict[Worker, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._configuring = asyncio.Lock()
        self._closed = False
        self._places = self._made_places()
        self._guard = Guard(self._watched, self._over)

    # --- life

    def _made_places(self) -> list[Place]:
        return [
            Place(number, self.config, self._log, self._make, self._on_change, self._retired)
            for number in range(1, self.config.workers + 1)
        ]

    def _make(self, name: str, config: HostConfig) -> Worker:
        return Worker(name, config, self._log, self._secrecy, self._advance)

    async def configure(self, config: HostConfig) -> None:
        """Goes on under another configuration; workers are replaced only where it concerns them or they fail."""
        async with self._configuring:
            await self._configure(config)

    async def _configure(self, config: HostConfig) -> None:
        before, self.config = self.config, config
        self._queue.limit = config.queue
        if before.same_process(config) and not any(place.state == "failed" for place in self._places):
            for worker in self._workers():
                worker.config = config
                for model, problem in worker.warm.copy().items():
                    if problem is not None:
                        worker.warm_up(model)
            return
        places, self._places = self._places, []
        self.models = {}
        for place in places:
            await self._let_go(place, "its configuration has changed")
        self._places = self._made_places()
        self._changed.set()

    async def close(self) -> None:
        """Ends every worker, and all that they started."""
        self._closed = True
        self._guard.close()
        for place in self._places:
            await self._let_go(place, "the host is shutting down")
        for worker in self._leaving:
            worker.hurry.set()
        await asyncio.gather(*self._leaving.values(), return_exceptions=True)
        self._sweep()

    async def _let_go(self, place: Place, reason: str) -> None:
        worker = await place.close()
        if worker is not None and not worker.gone.is_set():
            worker.retire(reason)
            self._retired(worker)
        elif worker is not None and worker not in self._leaving:
            worker.kill()

    def _retired(self, worker: Worker) -> None:
        crowd = [one for one in self._leaving if not one.hurry.is_set()]
        if len(crowd) > len(self._places):
            crowd[0].hurry.set()  # code that ignores every end must not fill the machine
        task = asyncio.get_running_loop().create_task(self._drain(worker))
        self._leaving[worker] = task
        task.add_done_callback(lambda _: self._leaving.pop(worker, None))

    async def _drain(self, worker: Worker) -> None:
        """Lets the calls of a retired worker end, for a while, and then the worker."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(worker.idle(), worker.drain)
        worker.stop()
        if worker.models and not worker.stuck:  # code that is being loaded, or does not end, does not hear of it
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(worker.process.ended.wait(), _STOP_GRACE)
        worker.kill()
        await worker.process.ended.wait()

    def _on_change(self, place: Place) -> None:
        if place.worker is not None and place.worker.models:
            self.models = place.worker.models
        self._changed.set()
        if place.state in ("failed", "restarting"):
            self._sweep()
        self._advance()

    def _advance(self) -> None:
        """After anything that may have made room, or taken hope."""
        self._queue.advance()
        if len(self._queue):
            self._queue.fail(lambda model: self._failure(place) if (place := self._problem(model)) else None)

    def _sweep(self) -> None:
        if not self._sweeps:
            return
        workers = [*self._workers(), *self._leaving]
        end_strays({pid for worker in workers if (pid := worker.process.keeper) is not None})

    # --- calls

    async def call(self, model: str, kind: str, request: dict[str, Any], about: dict[str, Any]) -> Begun:
        """Begins a call when a worker has room. Raises `HostBusy`, `ModelFailed`, `ModelNotFound`."""
        problem = self._problem(model)
        if problem is not None:
            raise self._failure(problem)
        begin, request_id = time.monotonic(), current_request.get()

        def on(worker: Worker) -> Ongoing:
            call = worker.begin(model, kind, request, about)
            call.request_id = request_id
            return call

        begun = await self._queue.give(model, on, self.config.timeout)
        begun.call.begun = begin
        return begun

    def leave(self, begun: Begun, error: BaseException | None) -> None:
        """The caller has its answer, or does not want it any more: code that still runs is ended."""
        worker, call = begun.worker, begun.call
        if call.ended:
            self._queue.took(time.monotonic() - call.begun)
            return
        worker.leave(call)
        why = "took too long" if isinstance(error, CodeTimeout) else "was cancelled"
        asyncio.get_running_loop().call_later(self.config.cancel_grace, self._check_end, worker, call, why)

    def _check_end(self, worker: Worker, call: Ongoing, why: str) -> None:
        if call.ended or not worker.alive:
            return
        worker.stuck = True
        grace = self.config.cancel_grace
        worker.retire(f"code of model {call.model} did not end within {grace:g} s after its call {why}")

    def _choose(self, model: str) -> Worker | None:
        free = [(len(worker.calls), worker) for worker in self._workers() if worker.room(model) > 0]
        return min(free, key=lambda pair: pair[0])[1] if free else None

    def _workers(self) -> list[Worker]:
        return [place.worker for place in self._places if place.worker is not None]

    # --- how it stands

    def _problem(self, model: str) -> Place | None:
        """The place that says why a model cannot be called, when none of the places gives hope."""
        hopeless = None
        for place in self._places:
            worker = place.worker
            if place.state == "failed":
                hopeless = place
            elif place.state != "ready" or worker is None or worker.warm.get(model) is None:
                return None
            else:
                hopeless = place
        return hopeless

    def _failure(self, place: Place) -> ModelFailed:
        worker = place.worker
        reasons = [text for text in (worker.warm.values() if worker is not None else ()) if text]
        text = place.problem if place.state == "failed" else "; ".join(reasons)
        return ModelFailed(f"The model is not ready: {text}", retry_after=place.retry_after)

    async def loaded(self) -> None:
        """Returns when the models are known. Raises `ModelFailed` when the code cannot be loaded."""
        while not self.models:
            failed = [place for place in self._places if place.state == "failed"]
            if self._places and len(failed) == len(self._places):
                raise self._failure(failed[0])
            self._changed.clear()
            await self._changed.wait()

    def require(self, model: str) -> dict[str, Any]:
        """What is known of a model. Raises `ModelNotFound`."""
        if model not in self.models:
            names = ", ".join(self.models)
            raise ModelNotFound(f"There is no model {model!r} here. There are: {names}.", param="model")
        return self.models[model]

    def states(self) -> list[dict[str, Any]]:
        """Each model's name, state and error, without waiting for anything."""
        known = list(self.models) or [model.name for model in self.config.models] or [self._target_name()]
        return [{"name": name, **self._state(name)} for name in known]

    def _state(self, model: str) -> dict[str, Any]:
        found = [self._state_in(place, model) for place in self._places]
        for state in ("ready", "loading", "failed"):
            for one, problem in found:
                if one == state:
                    return {"state": state, "error": problem or None}
        return {"state": "cold", "error": None}

    @staticmethod
    def _state_in(place: Place, model: str) -> tuple[str, str]:
        worker = place.worker
        if place.state == "failed":
            return "failed", place.problem
        if place.state != "ready" or worker is None or model not in worker.warm:
            return "loading", place.problem
        problem = worker.warm[model]
        return ("failed", problem) if problem is not None else ("ready", "")

    def workers(self) -> list[dict[str, Any]]:
        """Each worker's process, memory and calls."""
        return [
            {
                "pid": place.worker.process.pid if place.worker is not None else None,
                "state": place.state,
                "restarts": place.restarts,
                "calls": len(place.worker.calls) if place.worker is not None else 0,
                "memory_mb": round(place.worker.memory / 2**20) if place.worker is not None else 0,
                "last_problem": place.problem or None,
            }
            for place in self._places
        ]

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    def _target_name(self) -> str:
        return os.path.basename(self.config.target.rstrip("/")) or self.config.target  # noqa: PTH119

    # --- what a worker may use

    def _watched(self) -> list[Worker]:
        return [worker for worker in (*self._workers(), *self._leaving) if worker.alive]

    def _over(self, worker: Worker, reason: str, *, far: bool) -> None:
        worker.drain = min(worker.drain, _OVER_LIMIT_DRAIN)
        worker.stuck = True
        worker.retire(reason)
        if far:
            worker.kill()
