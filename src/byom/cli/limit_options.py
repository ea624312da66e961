"""Limits as options: ``--rpm 60 --rate 300/10 --budget 5.00/month``."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, get_args

import typer

from byom.types.limits import Period

Rpm = Annotated[int | None, typer.Option("--rpm", min=1, help="Requests per minute.")]
Tpm = Annotated[int | None, typer.Option("--tpm", min=1, help="Tokens per minute.")]
Rate = Annotated[str | None, typer.Option("--rate", metavar="N/SECONDS", help="N requests in any SECONDS seconds.")]
Concurrency = Annotated[int | None, typer.Option("--concurrency", min=1, help="Calls at the same time.")]
Budget = Annotated[
    str | None,
    typer.Option("--budget", metavar="DOLLARS/PERIOD", help="Money: 5.00/month; or hour, day, week, total."),
]
MaxWait = Annotated[
    float | None, typer.Option("--max-wait", min=0, help="Seconds that a call over a limit waits; 0 refuses at once.")
]


def given_limits(
    *,
    rpm: int | None,
    tpm: int | None,
    rate: str | None,
    concurrency: int | None,
    budget: str | None,
    max_wait: float | None,
) -> dict[str, Any] | None:
    """The limits that were given, in the form of the management API; ``None`` for none."""
    found = {
        "requests_per_minute": rpm,
        "tokens_per_minute": tpm,
        "rate_limit": parse_rate(rate) if rate else None,
        "concurrency": concurrency,
        "budget": parse_budget(budget) if budget else None,
        "max_wait": max_wait,
    }
    return {name: value for name, value in found.items() if value is not None} or None


def parse_rate(text: str) -> list[float]:
    """``[300, 10.0]`` of ``300/10``."""
    count, _, seconds = text.partition("/")
    try:
        found = [int(count), float(seconds)]
    except ValueError:
        found = [0, 0.0]
    if not (found[0] > 0 and 0 < found[1] < float("inf")):
        raise typer.BadParameter(f"{text!r} is not N/SECONDS, such as 300/10", param_hint="--rate")
    return found


def parse_budget(text: str) -> dict[str, str]:
    """``{"amount": "5.00", "period": "month"}`` of ``5.00/month``, ``$5`` or ``5``."""
    amount, _, period = text.strip().removeprefix("$").partition("/")
    try:
        valid = Decimal(amount).is_finite() and Decimal(amount) >= 0
    except InvalidOperation:
        valid = False
    if not valid or (period or "month") not in get_args(Period):
        message = f"{text!r} is not DOLLARS/PERIOD, such as 5.00/month; periods: {', '.join(get_args(Period))}"
        raise typer.BadParameter(message, param_hint="--budget")
    return {"amount": amount.strip(), "period": period or "month"}
