"""Instances of a plugin's class: one for each user and configuration, made at the first call, never shared."""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from collections import OrderedDict
from typing import Any

from ..contract import Context

MOST = 256


class Instance:
    """An object of the plugin's class, and how many calls it takes at once (``None``: any number)."""

    def __init__(self, model: Any, parallelism: int | None) -> None:
        self.model = model
        self.parallelism = parallelism
        self.gate = threading.BoundedSemaphore(parallelism) if parallelism else None


class Instances:
    """The ``most`` instances that were used last. `get` may be called from any thread; it may take as long as the
    plugin's ``set_config`` takes, and holds up only calls that wait for the same instance."""

    def __init__(self, kind: type, most: int = MOST, *, shared: bool = False) -> None:
        """``shared``: one for all users, of code that says it keeps nothing of theirs."""
        self._kind = kind
        self.shared = shared
        self._most = max(1, most)
        self._made: OrderedDict[tuple[str, str, int], Instance] = OrderedDict()
        self._making: dict[tuple[str, str, int], threading.Lock] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._made)

    def ready(self, context: Context, loop: int = 0) -> Instance | None:
        """The instance, where it is there already. Never waits. ``loop``: the event loop that its calls run on, since
        clients of asynchronous code belong to the loop that they were first used on."""
        key = self._key(context, loop)
        with self._lock:
            return self._found(key)

    def get(self, context: Context, loop: int = 0) -> Instance:
        """The instance of this user with this configuration, made now where it is not there. Whatever the plugin's own
        code raises is raised, and the next call tries again."""
        key = self._key(context, loop)
        with self._lock:
            found = self._found(key)
            if found is not None:
                return found
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                found = self._found(key)
            if found is not None:
                return found
            try:
                made = self._make(context)
            except BaseException:
                with self._lock:
                    self._making.pop(key, None)
                raise
            with self._lock:
                self._forget_older(key)
                self._made[key] = made
                self._making.pop(key, None)
                while len(self._made) > self._most:
                    self._made.popitem(last=False)
            return made

    def _key(self, context: Context, loop: int) -> tuple[str, str, int]:
        """The user, a digest of the configuration (the secrets in it are not kept for comparing), the loop."""
        text = json.dumps([context.config or {}, context.plugin_config or {}], sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return "" if self.shared else context.user, digest, loop

    def clear(self) -> None:
        with self._lock:
            self._made.clear()

    def _forget_older(self, key: tuple[str, str, int]) -> None:
        """Those of the same user with another configuration: a credential that was replaced does not stay about."""
        user, _, loop = key
        for other in [one for one in self._made if one[0] == user and one[2] == loop]:
            del self._made[other]

    def _found(self, key: tuple[str, str, int]) -> Instance | None:
        found = self._made.get(key)
        if found is not None:
            self._made.move_to_end(key)
        return found

    def _make(self, context: Context) -> Instance:
        model = self._kind()
        if hasattr(model, "set_config"):
            # Copies: what the plugin does with its configuration stays with this instance.
            model.set_config(copy.deepcopy(context.config or {}), copy.deepcopy(context.plugin_config or {}))
        return Instance(model, _parallelism(model))


def _parallelism(model: Any) -> int | None:
    method = getattr(model, "get_max_parallelism", None)
    if not callable(method) or getattr(method, "byom_not_written", False):
        return None
    wanted = method()
    return wanted if isinstance(wanted, int) and wanted > 0 else None
