"""A model as its code declares it: two functions and what is known of the model. In LLooM's call shapes.

The standard library alone, because user code may declare its models where byom is not installed: the worker gives it
these classes then. ``byom.llm`` builds on them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from .lent import lend_imports
from .results import dollars_per_token

DEFER_SETUP = "BYOM_DEFER_SETUP"
"""Set while a worker imports user code: clients are made at their first use, and not while the file is read."""

_NOT_MADE = object()


class DeclaredModel:
    """What both kinds have: ``name``, ``setup_fn``, ``fn``, ``client``, ``args`` and what a call may cost.

    ``client`` is what ``setup_fn(api_key)`` returned; it is called once, when the model is made. ``args`` holds every
    keyword that is not named, for the function to read. ``cost`` is dollars per token: ``(input, output)``, or one
    number. Raises `ValueError` for amounts that mean nothing.
    """

    def __init__(
        self,
        name: str,
        setup_fn: Callable[[Any], Any] | None,
        fn: Callable[..., Any],
        api_key: str | None = None,
        *,
        rate_limit: Sequence[float] | None = None,
        cost: Any = None,
        context_window: int | None = None,
        **args: Any,
    ) -> None:
        self.name = name or ""
        self.setup_fn = setup_fn
        self.fn = fn
        self.rate_limit = checked_rate_limit(rate_limit)
        dollars_per_token(cost)
        self.cost = cost
        self.context_window = context_window
        self.args: dict[str, Any] = args
        self._api_key = api_key
        self._client: Any = _NOT_MADE
        self._declared()
        if not os.environ.get(DEFER_SETUP):
            self.set_up()

    def _declared(self) -> None:
        """For subclasses: everything is set but the client."""

    @property
    def client(self) -> Any:
        if self._client is _NOT_MADE:
            self.set_up()
        return self._client

    @client.setter
    def client(self, client: Any) -> None:
        self._client = client

    def set_up(self, api_key: str | None = None) -> None:
        """Make the client, with another key where one is given. What ``setup_fn`` raises passes."""
        if api_key is not None:
            self._api_key = api_key
        setup_fn, key = self.setup_fn, self._api_key
        self._client = None if setup_fn is None else lend_imports(setup_fn, key, self.fn)

    def use_key(self, api_key: str | None) -> None:
        """Make the client again at its next use, with this key."""
        self._api_key = api_key
        self._client = _NOT_MADE

    @property
    def is_set_up(self) -> bool:
        return self._client is not _NOT_MADE

    @property
    def label(self) -> str:
        """What messages call the model: its name, else its function's."""
        return self.name or getattr(self.fn, "__name__", type(self).__name__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


class Model(DeclaredModel):
    """A language model: ``async def fn(model, prompt)`` or ``def``, returning ``(text, (in_tokens, out_tokens))``."""

    def __init__(
        self,
        name: str,
        setup_fn: Callable[[Any], Any] | None,
        fn: Callable[..., Any],
        api_key: str | None = None,
        rate_limit: Sequence[float] | None = None,
        *,
        cost: Any = None,
        context_window: int | None = None,
        **args: Any,
    ) -> None:
        super().__init__(
            name, setup_fn, fn, api_key, rate_limit=rate_limit, cost=cost, context_window=context_window, **args
        )


class EmbedModel(DeclaredModel):
    """An embedding model: ``fn(model, texts)`` returning ``(embeddings, tokens)``.

    With a ``batch_size`` the function gets at most so many texts, as a list; without one it gets a single text.
    """

    def __init__(
        self,
        name: str,
        setup_fn: Callable[[Any], Any] | None,
        fn: Callable[..., Any],
        api_key: str | None = None,
        batch_size: int | None = None,
        *,
        rate_limit: Sequence[float] | None = None,
        cost: Any = None,
        context_window: int | None = None,
        **args: Any,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError("batch_size must be 1 or more")
        self.batch_size = batch_size
        super().__init__(
            name, setup_fn, fn, api_key, rate_limit=rate_limit, cost=cost, context_window=context_window, **args
        )


def checked_rate_limit(given: Sequence[float] | None) -> tuple[int, float] | None:
    """``(n_requests, seconds)``. Raises `ValueError`."""
    if given is None:
        return None
    try:
        requests, seconds = given
        limit = int(requests), float(seconds)
    except (TypeError, ValueError) as error:
        raise ValueError(f"rate_limit must be (n_requests, seconds), not {given!r}") from error
    if limit[0] < 1 or not 0 < limit[1] < float("inf"):
        raise ValueError(f"rate_limit must be at least one request in more than 0 seconds, not {given!r}")
    return limit
