"""Rates in the form ``(n_requests, seconds)``."""

from __future__ import annotations

from byom.types.limits import Window


def window_from_rate(rate_limit: tuple[int, float]) -> Window:
    """The window for ``rate_limit=(n_requests, seconds)``: ``(300, 10)`` is 300 requests in any 10 seconds.

    Raises ``ValueError`` when either is not above zero.
    """
    requests, seconds = rate_limit
    if requests <= 0 or seconds <= 0:
        raise ValueError(f"rate_limit is (n_requests, seconds), both above zero, not {rate_limit!r}")
    return Window("requests", int(requests), float(seconds))
