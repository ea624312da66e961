"""Calendar periods, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf

from byom.types.limits import Period


def period_bounds(period: Period, at: float) -> tuple[float, float]:
    """Begin (included) and end (excluded) of the period that holds ``at``, in seconds since the epoch.

    Weeks begin on Monday. ``total`` began at the epoch and never ends.
    """
    if period == "total":
        return 0.0, inf
    moment = datetime.fromtimestamp(at, UTC)
    if period == "hour":
        begin = moment.replace(minute=0, second=0, microsecond=0)
        return begin.timestamp(), (begin + timedelta(hours=1)).timestamp()
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        begin, end = midnight, midnight + timedelta(days=1)
    elif period == "week":
        begin = midnight - timedelta(days=midnight.weekday())
        end = begin + timedelta(days=7)
    else:
        begin = midnight.replace(day=1)
        end = (begin + timedelta(days=32)).replace(day=1)
    return begin.timestamp(), end.timestamp()
