"""What follows from a caller, a model and the catalog alone: worked out once, used by every call that is alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byom.gateway import envelope as envelopes

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route
    from byom.gateway.figures import ModelFigures
    from byom.gateway.paths import Kind
    from byom.gateway.upstreams import Upstream
    from byom.types.limits import Scope


class Plan:
    """``steps``: the scopes to be admitted to, in one step or, where there are fallbacks, in two. ``name``: the
    model's, as the caller wrote it."""

    __slots__ = ("counted", "figures", "head", "kind", "needles", "route", "same_name", "steps", "upstream")

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
        counted: bool,
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
