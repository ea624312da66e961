"""AgentStudio's model server as code of the hub: what ``byom connect … --dialect agentstudio`` adds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from byom.errors import ConfigError
from byom.host.agentstudio.server import served_models
from byom.host.worker.contract import Context, Event, ModelDescription, Served
from byom.models.agentstudio.upstream import AgentStudioChatModel
from byom.models.agentstudio.wire import MessageForm
from byom.types.chat import ChatRequest
from byom.types.target import Timeouts

BASIC = "basic:"
"""Before a key that is a user and a password, in the form of the ``Authorization`` header."""
_NAMED = frozenset(ChatRequest.__struct_fields__) - {"extra"}


class Options(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``models``: names that the server knows. ``timeout``: seconds for one answer."""

    url: str
    models: list[str]
    form: str = MessageForm.MESSAGE.value
    concurrency: int = 1
    timeout: float = 600.0
    ca_file: str | None = None
    verify_tls: bool = True


class RemoteModel(Served):
    """One model of the server; all share the server's turns."""

    asynchronous = True

    def __init__(self, model: AgentStudioChatModel) -> None:
        self._model = model
        self.description = ModelDescription(
            name=model.info.name, kind="class", abilities=sorted(model.info.abilities), details=model.info.details
        )

    async def chat(self, request: dict[str, Any], context: Context) -> AsyncIterator[Event]:  # noqa: ARG002 - the same for everybody
        known = {name: value for name, value in request.items() if name in _NAMED and value is not None}
        extra = {name: value for name, value in request.items() if name not in _NAMED}
        if isinstance(known.get("stop"), str):
            known["stop"] = [known["stop"]]
        async for event in self._model.chat(ChatRequest(**known, extra=extra)):
            yield {
                "text": event.text,
                "finish_reason": event.finish_reason,
                "usage": None if event.usage is None else msgspec.to_builtins(event.usage),
            }


def _authorization(key: str | None) -> str | None:
    """The whole header."""
    if key and key.startswith(BASIC):
        return f"Basic {key.removeprefix(BASIC)}"
    return f"Bearer {key}" if key else None


class _Provider:
    """What `byom.host.worker.contracts.choose` finds under the target `TARGET`."""

    def byom_models(self, options: dict[str, Any]) -> list[Served]:
        """The models that ``options["args"]`` names, with ``api_key`` for its ``Authorization`` header."""
        try:
            given = msgspec.convert(options.get("args") or {}, Options)
            form = MessageForm(given.form)
        except (msgspec.ValidationError, ValueError) as error:
            raise ConfigError(f"The connection to AgentStudio's server is not described right: {error}") from error
        models = served_models(
            given.url,
            given.models,
            form=form,
            concurrency=given.concurrency,
            timeouts=Timeouts(first_byte=given.timeout, idle=given.timeout),
            authorization=_authorization(options.get("api_key")),
            ca_file=given.ca_file,
            verify_tls=given.verify_tls,
        )
        return [RemoteModel(model) for model in models]


provider = _Provider()
TARGET = "byom.host.agentstudio.remote:provider"
