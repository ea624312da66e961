"""What a host of code is told: which code, how to run it, and whose credentials it may use. Secrets stay in memory."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from byom.errors import ConfigError

Whole = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class CredentialField(msgspec.Struct, kw_only=True, frozen=True):
    """A field of a model's parameters that each caller fills in with a credential of their own."""

    param: str
    """The parameter that is a preset: ``config[param][field]`` becomes the credential."""
    preset: str
    """The preset's name, under which users enter the credential."""
    field: str
    type: str = "SINGLE_FIELD"


class ModelConfig(msgspec.Struct, kw_only=True, frozen=True):
    """One model of a plugin."""

    name: str
    component: str | None = None
    abilities: list[str] | None = None
    config: dict[str, Any] | None = None
    credentials: list[CredentialField] = []

    def __repr__(self) -> str:
        return f"ModelConfig({self.name!r})"


class UserConfig(msgspec.Struct, kw_only=True, frozen=True):
    """One user, with the credentials that this user entered: preset → field → a text or ``{user, password}``."""

    name: str = ""
    credentials: dict[str, dict[str, Any]] = {}

    def __repr__(self) -> str:
        return f"UserConfig({self.name!r})"


class HostConfig(msgspec.Struct, kw_only=True, frozen=True):
    """The whole document."""

    target: str
    """``module:object``, ``/path/file.py:object`` or the folder of a plugin."""
    python: str | None = None
    """The interpreter of the code's environment; this process's own where it is ``None``."""
    workers: Whole = 1
    threads: Whole = 32
    """Calls of synchronous code that one worker runs at once."""
    async_calls: Whole = 256
    """The same for code that is asynchronous."""
    queue: Annotated[int, msgspec.Meta(ge=0)] = 256
    """Calls that wait for a worker; more are refused."""
    timeout: Seconds = 600.0
    """Seconds until a worker has room, and then until the answer, or its next piece, must come."""
    load_timeout: Seconds = 300.0
    """Seconds until the code is loaded and warmed up."""
    cancel_grace: Seconds = 2.0
    """Seconds that code may go on after its call was cancelled, before its worker is ended."""
    drain: Seconds = 30.0
    """Seconds that the other calls of a worker that is to be ended may take."""
    memory_mb: Whole | None = None
    """Memory of a worker and all that it started, in MiB."""
    max_processes: Whole = 512
    """Processes of a worker, itself included."""
    options: dict[str, Any] = {}
    """For the code: ``api_key``, ``args``, …; ``env`` is added to the worker's environment."""
    contract: str | None = None
    """``module:function`` of the worker's environment that reads the target; BYOM's own where it is ``None``."""
    plugin_config: dict[str, Any] | None = None
    models: list[ModelConfig] = []
    users: dict[str, UserConfig] = {}
    hub_url: str = ""

    def __repr__(self) -> str:
        return f"HostConfig({self.target!r})"

    def model(self, name: str) -> ModelConfig | None:
        return next((model for model in self.models if model.name == name), None)

    def load_options(self) -> dict[str, Any]:
        """What the code is loaded with."""
        options = {name: value for name, value in self.options.items() if name != "env"}
        if self.models:
            options.setdefault("models", [_loaded(model) for model in self.models])
        if self.plugin_config is not None:
            options.setdefault("plugin_config", self.plugin_config)
        return options

    def same_process(self, other: HostConfig) -> bool:
        """Whether workers of this configuration may go on under the other one."""
        return self._process() == other._process()

    def _process(self) -> tuple[Any, ...]:
        models = [(model.name, model.component, model.abilities) for model in self.models]
        limits = (self.workers, self.threads, self.async_calls)
        return (self.target, self.python, self.contract, self.options, self.plugin_config, models, limits)


def _loaded(model: ModelConfig) -> dict[str, Any]:
    fields = {"name": model.name, "component": model.component, "abilities": model.abilities, "config": model.config}
    fields["credentials"] = [msgspec.to_builtins(one) for one in model.credentials]
    return fields


def decode(document: bytes) -> HostConfig:
    """The configuration in a JSON document. Raises `ConfigError` without quoting any of its values."""
    try:
        return msgspec.json.decode(document, type=HostConfig)
    except msgspec.ValidationError as error:
        # The text has types and paths, no values.
        raise ConfigError(f"The configuration of the host is wrong: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigError("The configuration of the host is not valid JSON.") from None


def secrets_in(config: HostConfig) -> set[str]:
    """Everything that must not appear in logs and messages: users' credentials, and values with telling names."""
    found: set[str] = set()
    for user in config.users.values():
        _collect(user.credentials, found, secret=True)
    for part in (config.options, config.plugin_config, *(model.config for model in config.models)):
        _collect(part, found, secret=False)
    return found


_TELLING = ("key", "secret", "token", "password", "passwd", "credential", "authorization")


def _collect(value: Any, found: set[str], *, secret: bool) -> None:
    if isinstance(value, str) and secret:
        found.add(value)
    elif isinstance(value, dict):
        for name, each in value.items():
            telling = any(word in str(name).lower() for word in _TELLING)
            _collect(each, found, secret=telling or (secret and name != "user"))
    elif isinstance(value, list):
        for each in value:
            _collect(each, found, secret=secret)
