"""Function models: ``fn(model, prompt)`` and ``fn(model, texts)`` with a ``setup_fn``, and plain functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ..contract import LoadError, ModelDescription, Served
from .asynchrony import is_asynchronous, is_generator, never_waits, underlying
from .declared import EmbedModel, Model, checked_rate_limit
from .function_calls import AsyncFunctionServed, FunctionServed
from .python_object import is_function_model, locate
from .results import dollars_per_token

_TEXTS = ("text", "texts", "text_arr", "inputs", "documents", "sentences")
_OVERRIDES = ("name", "cost", "context_window", "rate_limit", "batch_size")


def load(target: str, options: dict[str, Any]) -> list[Served]:
    """See `byom.host.worker.contract`. Options: ``api_key``, ``args``, ``ability`` (``chat`` or ``embed``, where it
    cannot be told), ``name`` and, for plain functions, ``cost``, ``context_window``, ``rate_limit``, ``batch_size``."""
    found, name = locate(target)
    return serve(found, name, options)


def serve(found: Any, name: str, options: dict[str, Any]) -> list[Served]:
    """One model of an object, a function, or a pair of ``setup_fn`` and ``fn``. ``name``: where it has none itself.

    Raises `LoadError`.
    """
    model = found if is_function_model(found) else _declared(found, options)
    for field in _OVERRIDES:
        if field in options and field != "name":
            setattr(model, field, options[field])
    args = getattr(model, "args", None)
    model.args = {**(args if isinstance(args, dict) else {}), **(options.get("args") or {})}
    ability = options.get("ability") or ("embed" if _embeds(model) else "chat")
    if ability not in ("chat", "embed"):
        raise LoadError(f"ability is 'chat' or 'embed', not {ability!r}.")
    asynchronous = is_asynchronous(model.fn) and not never_waits(model.fn)
    whole = getattr(model, "sends_whole_requests", False)
    kind = AsyncFunctionServed if asynchronous and not whole else FunctionServed
    return [kind(model, _description(model, name, options, ability), options.get("api_key"), _call_of(model.fn))]


def _declared(found: Any, options: dict[str, Any]) -> Any:
    """A model object for what is none."""
    setup_fn, fn = found if isinstance(found, (tuple, list)) else (None, found)
    _call_of(fn)
    embeds = options.get("ability") == "embed" or (options.get("ability") is None and _takes_texts(fn))
    made = EmbedModel if embeds else Model
    keywords: dict[str, Any] = {"batch_size": 256} if embeds else {}
    deferred = made("", setup_fn=None, fn=fn, **keywords)
    deferred.setup_fn = setup_fn
    deferred.use_key(None)
    return deferred


def _embeds(model: Any) -> bool:
    """LLooM's two classes differ in their names, and in what only one of them has."""
    return "embed" in type(model).__name__.lower() or hasattr(model, "batch_size") or _takes_texts(model.fn)


def _takes_texts(fn: Callable[..., Any]) -> bool:
    names = [parameter.name for parameter in _required(fn)]
    return bool(names) and names[-1] in _TEXTS


def _call_of(fn: Callable[..., Any]) -> str:
    """How the function is called: ``model`` and the input, the input alone, OpenAI's ``messages`` or ``request``."""
    required = _required(fn)
    name = getattr(underlying(fn), "__name__", "The function")
    if len(required) == 2:
        return "model and messages" if required[1].name == "messages" else "model and input"
    if len(required) == 1:
        only = required[0].name
        return only if only in ("messages", "request") else "input"
    raise LoadError(
        f"{name} takes {len(required)} arguments; a model's function takes (model, prompt) or (prompt), "
        "and (model, texts) or (texts) where it embeds."
    )


def _required(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return [inspect.Parameter("prompt", inspect.Parameter.POSITIONAL_ONLY)]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [one for one in parameters if one.kind in positional]
    needed = [one for one in found if one.default is inspect.Parameter.empty]
    if not needed and found:
        return found[:1]
    if not found and any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters):
        return [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("model", "prompt")]
    return needed


def _description(model: Any, named: str, options: dict[str, Any], ability: str) -> ModelDescription:
    name = str(options.get("name") or getattr(model, "name", "") or named)
    name = (options.get("rename") or {}).get(name, name)
    details: dict[str, Any] = {"function": getattr(underlying(model.fn), "__name__", type(model.fn).__name__)}
    args = model.args if isinstance(getattr(model, "args", None), dict) else {}
    if options.get("api_key") is not None and hasattr(model, "use_key"):
        model.use_key(options["api_key"])
    try:
        # LLooM's own classes keep what they do not read in args.
        limit = checked_rate_limit(getattr(model, "rate_limit", None) or args.get("rate_limit"))
        cost = _cost(getattr(model, "cost", None) if hasattr(model, "cost") else args.get("cost"), ability)
    except ValueError as error:
        raise LoadError(f"{named}: {error}.") from error
    window = getattr(model, "context_window", None) or args.get("context_window")
    return ModelDescription(
        name=name,
        kind="function",
        abilities=[ability],
        context_window=window if isinstance(window, int) else None,
        batch_size=getattr(model, "batch_size", None),
        cost=cost,
        rate_limit=list(limit) if limit else None,
        streaming=is_generator(model.fn) or getattr(model, "sends_whole_requests", False),
        details=details,
    )


def _cost(cost: Any, ability: str) -> dict[str, str] | None:
    amounts = dollars_per_token(cost)
    if amounts is None:
        return None
    given, answered = amounts
    if answered is None:
        answered = given * 0 if ability == "embed" else given
    # A float such as 0.15 / 1_000_000 is not exact; money is counted in picodollars.
    pico = Decimal("1e-12")
    return {"input": f"{given.quantize(pico):f}", "output": f"{answered.quantize(pico):f}"}
