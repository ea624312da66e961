"""Class models: ``generate_response(messages, **kwargs) -> (text, info)``."""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

from ..contract import LoadError, ModelDescription, Served
from .asynchrony import is_asynchronous, never_waits
from .class_calls import ClassServed
from .class_instances import INSTANCES, Instances
from .python_object import find

_SETTINGS = ("instances", "calls_per_instance", "models", "model", "rename")


def load(target: str, options: dict[str, Any]) -> list[Served]:
    """See `byom.host.worker.contract`. Options: ``args``, keywords of every call, and with them or beside them

    ``instances``            ``per_user``, ``per_request`` or ``shared``
    ``calls_per_instance``   calls at the same time in each; 1
    ``models``               names for one class, which is told as ``model`` which of them is called
    ``model``                what it is told instead, where it has one name
    ``rename``               ``{"max_tokens": "max_new_tokens"}``: what the class calls its keywords
    """
    return serve(find(target), target, options)


def serve(found: Any, target: str, options: dict[str, Any]) -> list[Served]:
    """One model for each name of ``models``, or one by the class's own name. Raises `LoadError`."""
    cls = found if isinstance(found, type) else type(found)
    method = getattr(cls, "generate_response", None)
    if method is None or getattr(method, "__isabstractmethod__", False):
        raise LoadError(f"{target}: {cls.__name__} has no generate_response(self, messages, **kwargs).")
    _check_signature(method, cls, target)
    args = dict(options.get("args") or {})
    options = {**{name: args.pop(name) for name in _SETTINGS if name in args}, **options}
    instances = Instances(_factory(found, cls, target, options), _kind(options), _calls(options))
    waits = is_asynchronous(method) and not never_waits(method)
    rename = options.get("rename") or {}
    if not isinstance(rename, dict):
        raise LoadError(f"rename is names by names, such as max_tokens: max_new_tokens, not {rename!r}.")
    made: list[Served] = []
    for name, told in _names(found, cls, options).items():
        description = _description(rename.get(name, name), cls, instances)
        made.append(ClassServed(instances, description, {**args, "model": told}, rename, waits=waits))
    return made


def _names(found: Any, cls: type, options: dict[str, Any]) -> dict[str, str]:
    """The models' names, and what the class is told for each."""
    several = options.get("models") or ()
    if isinstance(several, str):
        several = [one.strip() for one in several.split(",")]
    if several:
        pairs = [(one.get("name"), one.get("component")) if isinstance(one, dict) else (one, None) for one in several]
        return {str(name): str(told or name) for name, told in pairs}
    name = str(options.get("name") or _name_of(found, cls))
    return {name: str(options.get("model") or name)}


def _check_signature(method: Any, cls: type, target: str) -> None:
    try:
        parameters = list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        return
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        raise LoadError(
            f"{target}: {cls.__name__}.generate_response must take **kwargs, because it is given the name of the model "
            "and what the caller sent: def generate_response(self, messages, **kwargs)."
        )
    required = [
        one.name
        for one in parameters
        if one.default is inspect.Parameter.empty
        and one.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        and one.name not in ("self", "model")
    ]
    takes_any = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters)
    if len(required) != 1 and not (takes_any and len(required) < 1):
        raise LoadError(
            f"{target}: {cls.__name__}.generate_response takes {', '.join(required) or 'no argument'}; it is called "
            "with the messages alone, and everything else by keyword."
        )


def _factory(found: Any, cls: type, target: str, options: dict[str, Any]) -> Any:
    """What makes an instance; for an instance that is shared, it itself."""
    if not isinstance(found, type) and options.get("instances") == "shared":
        return lambda: found
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        hint = "" if isinstance(found, type) else " Or let all users share it: instances = shared."
        raise LoadError(f"{target}: {cls.__name__} must be made without arguments: {error}.{hint}") from error
    except ValueError:
        return cls  # a class whose signature cannot be read
    return cls


def _kind(options: dict[str, Any]) -> str:
    kind = str(options.get("instances") or "per_user")
    if kind not in INSTANCES:
        raise LoadError(f"instances is one of {', '.join(INSTANCES)}, not {kind!r}.")
    return kind


def _calls(options: dict[str, Any]) -> int:
    calls = options.get("calls_per_instance", 1)
    if not isinstance(calls, int) or calls < 1:
        raise LoadError(f"calls_per_instance is a number from 1, not {calls!r}.")
    return calls


def _name_of(found: Any, cls: type) -> str:
    name = getattr(found, "name", None)
    return name if isinstance(name, str) and name else cls.__name__


def _description(name: str, cls: type, instances: Instances) -> ModelDescription:
    sees = all(importlib.util.find_spec(package) is not None for package in ("PIL", "numpy"))
    return ModelDescription(
        name=name,
        kind="class",
        abilities=["chat", "vision"] if sees else ["chat"],
        concurrency=instances.calls if instances.kind == "shared" else None,
        details={"class": cls.__qualname__, "instances": instances.kind},
    )
