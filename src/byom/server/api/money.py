"""Money as people and spreadsheets read it."""

from __future__ import annotations

PICO_DIGITS = 12


def dollars(pico: int | None) -> str | None:
    """The exact amount in dollars, as a decimal string; ``None`` where it is not known.

    >>> dollars(15_000), dollars(2 * 10**12), dollars(0)
    ('0.000000015', '2', '0')
    """
    if pico is None:
        return None
    whole, rest = divmod(abs(pico), 10**PICO_DIGITS)
    digits = f"{rest:0{PICO_DIGITS}d}".rstrip("0")
    return f"{'-' if pico < 0 else ''}{whole}{'.' if digits else ''}{digits}"
