"""Runs one call to its end: in a thread, or on an event loop."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import types
from typing import Any, Callable, Coroutine, Generator, Optional  # noqa: UP035 - evaluated on Python 3.9

from . import failures, vectors
from .calls import Call, Cancelled, soon
from .channel import Channel

_local = threading.local()


def in_thread(call: Call, channel: Channel) -> None:
    """Runs a call whose code may block. Asynchronous code gets a loop that belongs to this thread."""
    try:
        if call.cancelled:
            raise Cancelled
        made = _invoke(call)
        if hasattr(made, "__aiter__") or inspect.isawaitable(made):
            result = _on_own_loop(call, made)
        elif call.kind == "chat":
            _pump(call, made)
            result = None
        else:
            result = made
    except BaseException as error:  # noqa: BLE001 - user code raises what it likes, SystemExit included
        finish(call, channel, error=error)
    else:
        finish(call, channel, result)


async def on_loop(call: Call, channel: Channel) -> bool:
    """Runs a call of asynchronous code on the loop that all such calls share. True when it has an answer."""
    try:
        if call.cancelled:
            raise Cancelled
        result = await _await(call, _invoke(call))
    except BaseException as error:  # noqa: BLE001 - as above; a cancelled task has nobody else to tell
        finish(call, channel, error=error)
        return False
    finish(call, channel, result)
    return True


@types.coroutine
def noting(work: Coroutine[Any, Any, bool], call: Call) -> Generator[Any, Any, bool]:
    """``work``, with a note in the call when its code waits for something on the loop."""
    step: Callable[[], Any] = functools.partial(work.send, None)
    while True:
        try:
            awaited = step()
        except StopIteration as ended:
            return bool(ended.value)
        # A bare yield (``sleep(0)``) is a courtesy, and our own wait for a slow reader is not the code's.
        if awaited is not None and not call.awaits_reader:
            call.suspended = call.entry.suspends = True
        try:
            value = yield awaited
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001 - passed on
            step = functools.partial(work.throw, error)
        else:
            step = functools.partial(work.send, value)


def finish(call: Call, channel: Channel, result: Any = None, error: Optional[BaseException] = None) -> None:  # noqa: UP045
    """The one last message of a call."""
    if error is None:
        try:
            if call.kind == "embed" and isinstance(result, dict):
                result = vectors.pack(result)
            channel.send({"op": "done", "id": call.id, "result": result})
        except (TypeError, ValueError) as unsendable:
            problem = TypeError(f"the answer cannot be sent: {unsendable}")
            channel.send({"op": "error", "id": call.id, **failures.of_call(problem)})
    else:
        channel.send({"op": "error", "id": call.id, **failures.of_call(error)})


def _invoke(call: Call) -> Any:
    served, request = call.entry.served, call.request
    if call.kind == "chat":
        return served.chat(request, call.context)
    if call.kind == "embed":
        return served.embed(request["texts"], request.get("options") or {}, call.context)
    return served.rerank(request["query"], request["documents"], call.context)


def _pump(call: Call, events: Any) -> None:
    try:
        for event in events:
            call.emit(event)
    finally:
        # In the thread that ran the generator: its `finally` blocks may block, too.
        close = getattr(events, "close", None)
        if callable(close):
            close()


async def _await(call: Call, made: Any) -> Any:
    if inspect.isawaitable(made):
        made = await made
    if call.kind != "chat":
        return made
    if not hasattr(made, "__aiter__"):
        for event in made:
            await call.emit_async(event)
        return None
    try:
        async for event in made:
            await call.emit_async(event)
    finally:
        close = getattr(made, "aclose", None)
        if callable(close):
            await close()
    return None


def _on_own_loop(call: Call, made: Any) -> Any:
    loop = thread_loop()
    task = loop.create_task(_await(call, made))
    call.interrupt_with(functools.partial(soon, loop, task.cancel))
    try:
        return loop.run_until_complete(task)
    finally:
        call.interrupt_with(None)
        left = asyncio.all_tasks(loop)
        for one in left:
            one.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


def thread_loop() -> asyncio.AbstractEventLoop:
    """This thread's own event loop, made at its first use and kept: code finds it with ``get_event_loop``."""
    loop: Optional[asyncio.AbstractEventLoop] = getattr(_local, "loop", None)  # noqa: UP045
    if loop is None or loop.is_closed():
        loop = asyncio.new_event_loop()
        _local.loop = loop
        asyncio.set_event_loop(loop)
    return loop
