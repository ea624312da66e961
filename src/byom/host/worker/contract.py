"""What a way of writing a model (function, class, plugin) gives to the worker that runs it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Union  # noqa: UP035 - evaluated on Python 3.9

Event = Dict[str, Any]  # noqa: UP006
"""A piece of an answer, all fields optional: ``text``, ``reasoning``, ``tool_calls`` (deltas in OpenAI's form),
``finish_reason``, ``index``, ``usage`` (``prompt_tokens``, ``completion_tokens``, and ``estimated`` where no one
confirmed them; what is not known is left out)."""
Embedded = Dict[str, Any]  # noqa: UP006
"""``vectors``: one list of floats for each text; ``usage`` as in `Event`."""
Ranked = Dict[str, Any]  # noqa: UP006
"""``documents``: ``{"index": …, "score": …}``, the best first; ``usage`` as in `Event`."""


class LoadError(Exception):
    """The code cannot be served; the message says what to change. It is shown to the one who adds the model."""


class CallError(Exception):
    """A call cannot be answered, for a reason that the caller may know. Anything else that user code raises is
    written to the log with its trace, and the caller is told its type and message."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 502,
        code: Optional[str] = None,  # noqa: UP045
        retry_after: Optional[float] = None,  # noqa: UP045
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.retry_after = retry_after


@dataclass
class ModelDescription:
    """What the hub is told of a model: data only, sent as JSON."""

    name: str
    kind: str
    """``function``, ``class`` or ``plugin``."""
    abilities: List[str] = field(default_factory=lambda: ["chat"])  # noqa: UP006
    context_window: Optional[int] = None  # noqa: UP045
    dimensions: Optional[int] = None  # noqa: UP045
    batch_size: Optional[int] = None  # noqa: UP045
    """The most texts in one call of an embedding function; more are sent in several calls."""
    cost: Optional[Dict[str, str]] = None  # noqa: UP006, UP045
    """``input`` and ``output``: dollars per token as decimal strings. ``None``: not known."""
    rate_limit: Optional[List[float]] = None  # noqa: UP006, UP045
    """``[n_requests, seconds]``."""
    concurrency: Optional[int] = None  # noqa: UP045
    """Calls at once that one instance takes; ``None``: as many as there are threads."""
    streaming: bool = False
    """Whether the code itself gives its answer in pieces."""
    details: Dict[str, Any] = field(default_factory=dict)  # noqa: UP006

    def to_dict(self) -> Dict[str, Any]:  # noqa: UP006
        return asdict(self)


@dataclass
class Context:
    """Who calls, and with what."""

    user: str = ""
    """The id of the calling user; ``""`` where nobody is known. What is kept for one user is never used for another."""
    config: Optional[Dict[str, Any]] = None  # noqa: UP006, UP045
    """The model's parameters with this user's own credentials filled in; ``None`` for code that has none."""
    plugin_config: Optional[Dict[str, Any]] = None  # noqa: UP006, UP045
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when nobody waits for the answer any more."""


class Served:
    """One model as its code makes it. A method that the description's abilities do not name is not called.

    With ``asynchronous`` the methods return async iterators and awaitables, which run on an event loop; otherwise
    plain iterators and values, which run in a thread and may block as long as they like.
    """

    description: ModelDescription
    asynchronous: bool = False

    def chat(self, request: Dict[str, Any], context: Context) -> Union[Iterator[Event], AsyncIterator[Event]]:  # noqa: UP006, UP007
        """``request``: OpenAI's chat request as JSON (``messages``, ``temperature``, ``tools``, …)."""
        raise NotImplementedError

    def embed(
        self,
        texts: Sequence[str],
        options: Dict[str, Any],  # noqa: UP006
        context: Context,
    ) -> Union[Embedded, Awaitable[Embedded]]:  # noqa: UP007
        raise NotImplementedError

    def rerank(self, query: str, documents: Sequence[str], context: Context) -> Union[Ranked, Awaitable[Ranked]]:  # noqa: UP007
        raise NotImplementedError

    def warm_up(self) -> None:
        """What may be done before the first call, such as loading weights. Runs in a thread."""

    def close(self) -> None:
        """Let go of everything."""
