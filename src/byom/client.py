"""The Python library: clients of a hub, and the functions of ``import byom``.

`Client` blocks, `AsyncClient` is for ``async`` code; they have the same methods. `chat`, `embed` and `connect` use one
client for the whole program, made with their first use from ``BYOM_URL``, ``BYOM_API_KEY`` and ``BYOM_HOME``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

from byom._client.aio import AsyncClient
from byom._client.answers import Answer, Piece, Ranked, Ranking, Vectors
from byom._client.calls import Prompt
from byom._client.failures import HubUnreachable
from byom._client.streams import AsyncChatStream
from byom._client.sync import ChatStream, Client

__all__ = [
    "Answer",
    "AsyncChatStream",
    "AsyncClient",
    "ChatStream",
    "Client",
    "HubUnreachable",
    "Piece",
    "Ranked",
    "Ranking",
    "Vectors",
    "chat",
    "connect",
    "default_client",
    "embed",
]

_lock = threading.Lock()
_default: tuple[tuple[str | None, ...], Client] | None = None
_VARIABLES = ("BYOM_URL", "BYOM_API_KEY", "BYOM_HOME")


def default_client() -> Client:
    """The client behind `chat`, `embed` and `connect`; a new one when the variables that name the hub have changed."""
    global _default
    named = (*map(os.environ.get, _VARIABLES), str(os.getpid()))
    with _lock:
        if _default is None or _default[0] != named:
            if _default is not None and _default[0][-1] == named[-1]:
                _default[1].close()
            _default = (named, Client())
        return _default[1]


@overload
def chat(
    model: str, prompt: Prompt, *, system: str | None = None, stream: Literal[False] = False, **params: Any
) -> Answer: ...
@overload
def chat(
    model: str, prompt: Prompt, *, system: str | None = None, stream: Literal[True], **params: Any
) -> ChatStream: ...
def chat(
    model: str, prompt: Prompt, *, system: str | None = None, stream: bool = False, **params: Any
) -> Answer | ChatStream:
    """Ask a chat model; see `AsyncClient.chat`.

    ``print(byom.chat("extractive", "…"))`` prints the answer; it has ``.text``, ``.usage``, ``.tool_calls`` and
    ``.finish_reason``. With ``stream=True``: ``for piece in byom.chat(…, stream=True): print(piece, end="")``.
    """
    if stream:
        return default_client().chat(model, prompt, system=system, stream=True, **params)
    return default_client().chat(model, prompt, system=system, stream=False, **params)


def embed(model: str, texts: str | Sequence[str], **params: Any) -> Vectors:
    """One vector for each text; the result iterates as a list of vectors and has ``.vectors`` and ``.usage``."""
    return default_client().embed(model, texts, **params)


def connect(
    name: str,
    url: str,
    *,
    model: str | None = None,
    models: Sequence[str] | Mapping[str, str] = (),
    all: bool = False,  # noqa: A002 - the word of the command line
    key: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Connect an OpenAI-compatible server; see `AsyncClient.connect`."""
    return default_client().connect(name, url, model=model, models=models, all=all, key=key, **fields)


# Tracebacks and help show the names that users import.
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
