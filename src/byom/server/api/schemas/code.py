"""Connections whose models are code: adding them, how their processes are, presets, each user's credentials."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from byom.server.api.schemas.connection import Connection
from byom.server.api.schemas.fields import Count, Flag, Given, JsonObject, Name, PositiveSeconds, Shown, Text
from byom.server.api.schemas.model import Abilities, Model
from byom.server.api.schemas.policies import LimitsIn

Secret = Annotated[SecretStr, Field(max_length=16_384)]


class CodeModelIn(Given):
    """A model of the code, and what to call it here."""

    name: Name | None = Field(default=None, description="What to call it here; by default as the code does.")
    id: Name | None = Field(default=None, description="The code's name for it. Of a plugin: the component.")
    abilities: Abilities | None = None
    params: JsonObject = Field(
        default={}, description="Of a plugin: values by parameter; of one that takes a preset, the preset's name."
    )


CodeModels = Annotated[list[Name | CodeModelIn], Field(min_length=1, max_length=100)]


class PresetIn(Given):
    name: Name
    parameter_set: Name | None = Field(default=None, description="May be left out where the plugin has just one.")
    values: JsonObject = Field(default={}, description="By field. Those of secret fields are kept encrypted.")


class PresetPatch(Given):
    """Values by field; null takes one out, and what is not named stays."""

    values: JsonObject = {}


class CodeIn(Given):
    """Python code on the hub's machine whose models are to be used."""

    target: Text = Field(
        description="file.py:object, module:object, or a plugin's folder. A file or folder is a whole path."
    )
    name: Name | None = Field(default=None, description="Of the connection; by default after the code.")
    models: CodeModels | Literal["all"] = "all"
    presets: Annotated[list[PresetIn], Field(max_length=100)] = []
    plugin_config: JsonObject = Field(default={}, description="Values of the plugin's own parameters.")
    key: Secret | None = Field(default=None, description="Write-only; the code has it as api_key.")
    python: Text | None = Field(default=None, description="The interpreter of the code's environment.")
    workers: Count | None = Field(default=None, description="Processes that run the code.")
    threads: Count | None = Field(default=None, description="Calls at once in each of them.")
    queue: Count | None = Field(default=None, description="Calls that may wait.")
    timeout: PositiveSeconds | None = Field(default=None, description="Seconds for one call.")
    memory_mb: Count | None = Field(default=None, description="Memory of a process, in MiB.")
    instances: Count | None = Field(default=None, description="Objects of a class.")
    args: JsonObject = Field(default={}, description="Handed to the code as it is.")
    eager: Flag = Field(default=False, description="Start with the hub instead of with the first call.")
    limits: LimitsIn | None = None
    load_timeout: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=300.0, description="Seconds until the code must be loaded."
    )


class AddCodeModels(Given):
    """Further models of code that is connected already."""

    models: CodeModels | Literal["all"] = "all"


class ModelProcess(Shown):
    name: str
    state: str = Field(description="`cold`, `loading`, `ready` or `failed`.")
    error: str | None = None


class HostState(Shown):
    """How the process of a connection whose models are code is."""

    state: Literal["cold", "starting", "ready", "failed", "disabled"] = Field(
        description="`cold`: it starts with the first call. `failed`: it is tried again."
    )
    reason: str = Field(description="Why it failed.")
    since: float | None
    restarts: int
    models: list[ModelProcess]


class ConnectionNow(Connection):
    """A connection, and how its process is where it has one."""

    host: HostState | None = Field(description="Of code: how its process is; null for anything else.")


class Preset(Shown):
    id: str
    connection: str
    name: str
    parameter_set: str
    values: dict[str, Any]
    secrets: dict[str, str] = Field(description="Hints of the stored secret values, by field.")
    models: list[str] = Field(description="Models that use it.")
    credentials: int = Field(description="How many credentials users have entered for it.")
    owner: str | None
    created_at: float
    updated_at: float


class Presets(Shown):
    data: list[Preset]


class AddedCode(Shown):
    models: list[Model]
    skipped: list[str] = Field(description="Models of the code that are here already.")


class Login(Given):
    user: Annotated[str, Field(min_length=1, max_length=1000)]
    password: Secret


class CredentialIn(Given):
    connection: Name
    preset: Name
    field: Name
    value: Secret | Login = Field(description="A text; where the type is BASIC, a user and a password. Write-only.")


class Credential(Shown):
    """A credential that code needs of you. Its value is never shown."""

    connection: str
    preset: str
    field: str
    type: str = Field(description="`SINGLE_FIELD` (a text) or `BASIC` (a user and a password).")
    label: str
    models: list[str] = Field(description="Models that need it.")
    is_set: bool
    hint: str | None = Field(description="Last four characters; empty where it is too short to show any.")
    updated_at: float | None


class Credentials(Shown):
    data: list[Credential]
