"""What user functions return, in the forms that they return it in: text with tokens, vectors with tokens."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any


class ResultError(ValueError):
    """A function returned what nobody can read; the message says what it should return."""


def text_and_tokens(result: Any, who: str) -> tuple[str, tuple[int, int]]:
    """From ``text``, ``(text, tokens)`` or ``(None, tokens)``. Tokens that are not told are ``(0, 0)``."""
    tokens: Any = None
    if isinstance(result, (tuple, list)):
        if len(result) != 2:
            raise ResultError(f"{who} must return (text, (in_tokens, out_tokens)), not {len(result)} values")
        result, tokens = result
    if result is None:
        result = ""
    elif isinstance(result, dict):
        result = json.dumps(result, ensure_ascii=False)
    elif not isinstance(result, str):
        raise ResultError(f"{who} returned {type(result).__name__} where text belongs")
    return result, counted(tokens, who)


def counted(tokens: Any, who: str) -> tuple[int, int]:
    """``(in, out)`` from a pair, one number or nothing; ``(0, 0)`` means that they are not known."""
    tokens = _plain(tokens)
    if tokens is None:
        return 0, 0
    both = list(tokens) if isinstance(tokens, (tuple, list)) else [tokens]
    both = [_plain(one) for one in both]
    if len(both) > 2 or not all(_is_count(one) for one in both):
        raise ResultError(f"{who} must tell tokens as (in_tokens, out_tokens), not {tokens!r:.100}")
    both += [0] * (2 - len(both))
    return int(both[0] or 0), int(both[1] or 0)


def vectors_and_tokens(result: Any, texts: int, who: str) -> tuple[list[list[float]] | None, tuple[int, int]]:
    """From ``vectors`` or ``(vectors, tokens)``: lists, or arrays of any kind.

    One flat vector counts as the only one for a single text; for several texts the vectors are ``None``: the function
    takes one text at a time.
    """
    tokens: Any = None
    if isinstance(result, tuple) and len(result) == 2 and _holds_vectors(result[0]):
        second = _plain(result[1])
        # Two vectors in a tuple are no vector with its tokens: those are whole numbers.
        if not _holds_vectors(second) or all(_is_count(_plain(one)) for one in second):
            result, tokens = result
    found = _plain(result)
    if not isinstance(found, (list, tuple)) or not found:
        raise ResultError(f"{who} must return (embeddings, tokens), not {type(result).__name__}")
    told = counted(tokens, who)
    rows = [_plain(row) for row in found]
    if all(_is_number(one) for one in rows):
        return ([[float(one) for one in rows]] if texts == 1 else None), told
    vectors = [_vector(row, who) for row in rows]
    if len(vectors) != texts or len({len(vector) for vector in vectors}) != 1:
        raise ResultError(f"{who} returned {len(vectors)} vectors for {texts} texts, or vectors of different lengths")
    return vectors, told


def dollars_per_token(cost: Any) -> tuple[Decimal, Decimal | None] | None:
    """Input and output (``None``: nothing was said of it) from ``(in, out)``, ``[in, out]`` or one number.

    ``None``: not known. Raises `ValueError`.
    """
    if cost is None:
        return None
    parts = list(cost) if isinstance(cost, (tuple, list)) else [cost]
    if not 1 <= len(parts) <= 2:
        raise ValueError(f"cost must be (input, output) in dollars per token, or one number, not {cost!r}")
    amounts = [_amount(part, cost) for part in parts]
    return amounts[0], amounts[1] if len(amounts) == 2 else None


def _amount(part: Any, cost: Any) -> Decimal:
    try:
        amount = part if isinstance(part, Decimal) else Decimal(repr(part) if isinstance(part, float) else str(part))
    except InvalidOperation as error:
        raise ValueError(f"cost must be dollars per token, not {cost!r}") from error
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"cost must be 0 or more dollars per token, not {cost!r}")
    return amount


def _vector(row: Any, who: str) -> list[float]:
    if not isinstance(row, (list, tuple)):
        raise ResultError(f"{who} returned {type(row).__name__} where a vector belongs")
    try:
        return [float(one) for one in row]
    except (TypeError, ValueError) as error:
        raise ResultError(f"{who} returned a vector that holds more than numbers") from error


def _plain(value: Any) -> Any:
    """Arrays and tensors of any package as lists and numbers."""
    if isinstance(value, (list, tuple, str, int, float, dict)) or value is None:
        return value
    detach = getattr(value, "detach", None)
    if callable(detach):
        value = detach()
    to_list = getattr(value, "tolist", None)
    return to_list() if callable(to_list) else value


def _holds_vectors(value: Any) -> bool:
    value = _plain(value)
    return isinstance(value, (list, tuple)) and len(value) > 0


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class TextList(list[str]):
    """A list of texts that also answers to ``tolist``, as the array does that LLooM gives."""

    def tolist(self) -> list[str]:
        return list(self)
