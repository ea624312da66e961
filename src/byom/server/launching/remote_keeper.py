"""The keeper of engines, as a worker sees it: it is in the process that holds the workers together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast, get_type_hints

import msgspec

import byom.errors
from byom.errors import ByomError, Unavailable
from byom.server.control import AskFailed, Channel, decode, encode
from byom.server.launching.keeper import Keeper
from byom.server.launching.weights_keeper import ASKED, WeightsKeeper

SECONDS = 30.0
WAKE_SECONDS = 3600.0
"""Loading may take long; a keeper that dies is noticed by the end of the channel."""
NEWS_SECONDS = 15.0


class Question(msgspec.Struct):
    method: str
    arguments: list[msgspec.Raw]


class Answer(msgspec.Struct):
    value: msgspec.Raw = msgspec.Raw(b"\xc0")  # nil
    error: dict[str, Any] | None = None


async def answer(keeper: Keeper, body: msgspec.Raw) -> Answer:
    """Do what a worker asks."""
    question: Question = decode(body, Question)
    if question.method not in ASKED:
        raise Unavailable(f"the keeper of engines does not know {question.method}")
    method: Callable[..., Awaitable[Any]] = getattr(keeper, question.method)
    kinds = [kind for name, kind in get_type_hints(method).items() if name != "return"]
    arguments = [decode(given, kind) for given, kind in zip(question.arguments, kinds, strict=True)]
    try:
        value = await method(*arguments)
    except ByomError as error:
        return Answer(error=_carried(error))
    return Answer(value=msgspec.Raw(encode(value)))


class RemoteKeeper:
    """Made into a `WeightsKeeper` by `keeper_over`: every method asks the other process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name not in ASKED:
            raise AttributeError(name)
        kind = get_type_hints(getattr(Keeper, name), vars(__import__("byom.server.launching.keeper", fromlist=["_"])))

        async def ask(*arguments: Any) -> Any:
            return await self._ask(name, arguments, kind["return"])

        return ask

    async def _ask(self, method: str, arguments: tuple[Any, ...], kind: Any) -> Any:
        question = Question(method, [msgspec.Raw(encode(one)) for one in arguments])
        seconds = WAKE_SECONDS if method in ("wake", "gone", "unload", "drop", "resolve") else SECONDS
        try:
            found: Answer = await self._channel.ask_for(Answer, "weights", question, timeout=seconds)
        except (AskFailed, TimeoutError, ConnectionError) as error:
            raise Unavailable("The process that keeps the engines cannot be asked now.", retry_after=1.0) from error
        if found.error is not None:
            raise _raised(found.error)
        return decode(found.value, kind)


def keeper_over(channel: Channel) -> WeightsKeeper:
    return cast("WeightsKeeper", RemoteKeeper(channel))


def _carried(error: ByomError) -> dict[str, Any]:
    """Enough to raise the same on the other side."""
    known = next(kind for kind in type(error).__mro__ if getattr(byom.errors, kind.__name__, None) is kind)
    return {
        "kind": known.__name__, "message": error.message, "code": error.code, "param": error.param,
        "retry_after": error.retry_after, "details": error.details,
    }  # fmt: skip


def _raised(carried: Mapping[str, Any]) -> ByomError:
    kind = getattr(byom.errors, carried["kind"])
    error = ByomError.__new__(kind)
    ByomError.__init__(
        error, carried["message"], code=carried["code"], param=carried["param"], retry_after=carried["retry_after"],
        details=carried["details"],
    )  # fmt: skip
    return cast("ByomError", error)
