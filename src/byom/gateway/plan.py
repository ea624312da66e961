"""What follows from a caller, a model and the catalog alone: worked out once, used by every call that is alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byom.gateway import envelope as envelopes

if TYPE_CHECKING:
    from byom.catalog.snapshot import CallerKey, Route
    from byom.gateway.figures import ModelFigures
    from byom.gateway.paths import Kind
    from byom.gateway.upstreams import Upstream
    from byom.types.limits import Scope


GENERATING = frozenset({"chat/completions", "completions"})
"""Routes that answer with text, and may stream it with ``stream_options``."""


class Plan:
    """``steps``: the scopes to be admitted to, in one step or, where there are fallbacks, in two. ``name``: the
    model's, as the caller wrote it."""

    __slots__ = (
        "ask_usage",
        "connection",
        "counted",
        "express",
        "figures",
        "fixed_cost",
        "head",
        "key",
        "kind",
        "model",
        "needles",
        "output_cost",
        "path",
        "price_version",
        "prompt_cost",
        "route",
        "same_name",
        "steps",
        "upstream",
        "upstream_model",
        "user",
    )

    def __init__(
        self,
        route: Route,
        kind: Kind,
        upstream: Upstream,
        steps: tuple[tuple[Scope, ...], ...],
        head: bytes,
        figures: ModelFigures,
        *,
        name: str,
        path: str,
        counted: bool,
        caller: CallerKey | None,
    ) -> None:
        self.route = route
        self.kind = kind
        self.upstream = upstream
        self.steps = steps
        self.head = head
        """The upstream request's head, up to its request id."""
        self.figures = figures
        self.counted = counted
        """Calls of this route are counted in tokens."""
        self.same_name = name == route.upstream_model and not kind.raw and route.max_tokens_field == "as-is"
        """The upstream knows the model by the name that the caller used: most bodies pass untouched."""
        self.needles = envelopes.needles(name) if self.same_name else ()
        # What stands in the ledger row of each call.
        self.key = caller.id if caller is not None else ""
        self.user = caller.user_name if caller is not None else ""
        self.connection = route.connection
        self.model = route.name
        self.upstream_model = route.upstream_model
        self.path = path
        price = route.price
        self.price_version = price.version if price is not None else ""
        self.fixed_cost = 0 if price is None else price.request
        self.prompt_cost = 0 if price is None else price.input
        self.output_cost = 0 if price is None else price.output
        self.ask_usage = route.streaming == "native" and route.stream_usage == "ask"
        self.express = (
            self.same_name
            and path in GENERATING
            and len(steps) <= 1
            and route.cache is None
            and route.streaming == "native"
            and (price is None or not price.tiers)
            and not route.target.replicas
        )
        """Calls may take the straight road (`byom.gateway.express`)."""
