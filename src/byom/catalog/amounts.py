"""Limits and prices between the form that people write and the form that is enforced."""

from __future__ import annotations

import hashlib
from decimal import Decimal

from byom.catalog.forms import BudgetForm, LimitsForm, PriceForm
from byom.errors import ConfigError
from byom.types.limits import Budget, Limits, Window
from byom.types.usage import PICO, Price, per_million, to_pico

PARTS = ("input", "output", "cached_input", "cache_write", "audio_input", "audio_output")
# Largest whole number that every database column and JSON reader takes.
LARGEST = 2**63 - 1


def enforced(form: LimitsForm) -> Limits:
    """The limits that a form means. Raises `ConfigError` naming the field."""
    windows: list[Window] = []
    if form.requests_per_minute is not None:
        windows.append(Window("requests", form.requests_per_minute, 60.0))
    if form.tokens_per_minute is not None:
        windows.append(Window("tokens", form.tokens_per_minute, 60.0))
    if form.rate_limit is not None:
        windows.append(Window("requests", form.rate_limit[0], form.rate_limit[1]))
    for index, window in enumerate(form.windows):
        if window.amount <= 0 or window.seconds <= 0:
            raise ConfigError("amount and seconds must be greater than 0", param=f"limits.windows[{index}]")
        windows.append(window)
    return Limits(
        windows=tuple(dict.fromkeys(windows)),
        concurrency=form.concurrency,
        budgets=tuple(_budget(budget) for budget in _budgets(form)),
        max_wait=form.max_wait,
    )


def _budgets(form: LimitsForm) -> tuple[BudgetForm, ...]:
    if form.budget is None:
        return ()
    return form.budget if isinstance(form.budget, tuple) else (form.budget,)


def _budget(form: BudgetForm) -> Budget:
    return Budget(_whole(form.amount, "limits.budget.amount", to_pico), form.period)


def price_of(form: PriceForm, source: str = "user") -> Price:
    """Picodollars per token. Raises `ConfigError` naming the field."""
    parts = {name: _part(form, name) for name in PARTS}
    digest = hashlib.sha256(repr((parts, form.request)).encode()).hexdigest()[:12]
    request = _whole(form.request, "price.request", to_pico)
    return Price(**parts, request=request, source=source, version=f"user:{digest}")  # type: ignore[arg-type]


def _part(form: PriceForm, name: str) -> int | None:
    amount: Decimal | None = getattr(form, name)
    return None if amount is None else _whole(amount, f"price.{name}", per_million)


def _whole(amount: Decimal, field: str, convert: object) -> int:
    if not amount.is_finite() or amount < 0:
        raise ConfigError(f"{field}: the amount must be 0 or more dollars", param=field)
    try:
        whole: int = convert(amount)  # type: ignore[operator]
    except ValueError as error:
        raise ConfigError(f"{field}: {error}", param=field) from error
    except ArithmeticError as error:
        raise ConfigError(f"{field}: the amount is too large", param=field) from error
    if whole > LARGEST:
        raise ConfigError(f"{field}: the amount is too large", param=field)
    return whole


def price_form(price: Price) -> PriceForm:
    """The price in dollars per million tokens, exactly."""
    shown = {name: _dollars_per_million(getattr(price, name)) for name in PARTS}
    return PriceForm(**shown, request=_plain(Decimal(price.request) / PICO))  # type: ignore[arg-type]


def _dollars_per_million(pico: int | None) -> Decimal | None:
    return None if pico is None else _plain(Decimal(pico) / 10**6)


def _plain(amount: Decimal) -> Decimal:
    """Without trailing zeros and without an exponent."""
    return Decimal(f"{amount.normalize():f}")
