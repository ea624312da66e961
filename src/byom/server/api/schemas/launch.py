"""Specs, launched models, engines and cached weights."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from byom.server.api.schemas.fields import Count, Flag, Given, JsonObject, Name, PositiveSeconds, Shown, Text
from byom.server.launching.request import MOST_REPLICAS

ModelType = Literal["LLM", "embedding", "rerank"]
LONGEST_SPEC = 1024 * 1024
SpecText = Annotated[str, StringConstraints(max_length=LONGEST_SPEC)]
Replicas = Annotated[int, Field(strict=True, ge=1, le=MOST_REPLICAS)]
Gpu = Annotated[int, Field(strict=True, ge=0, le=1023)]


def _text_values(value: dict[str, Any]) -> dict[str, str]:
    for name, text in value.items():
        if not isinstance(text, str) or "\0" in name + text or "=" in name or not name:
            raise ValueError(f"{name[:100]!r}: names and values are texts")
    return value


class SpecIn(Given):
    """Weights that are to be launched: where they are, their format, and what they can do."""

    spec: SpecText | JsonObject = Field(description="The spec: an object, or the text of one in JSON or TOML.")
    type: ModelType | None = Field(default=None, description="By default what the spec says, else told from it.")
    persist: Flag = Field(default=True, description="Keep it when the hub ends.")
    replace: Flag = Field(default=False, description="Put it in the place of the one of its name, all or nothing.")


class RegisteredSpec(Shown):
    spec: dict[str, Any]
    notes: list[str] = Field(description="How it was understood, where that is not plain.")


class SpecShown(Shown):
    model_name: str
    model_type: str
    is_builtin: bool = Field(description="It comes with BYOM.")
    persisted: bool
    spec: dict[str, Any] | None = Field(default=None, description="With `detailed`.")


class Specs(Shown):
    data: list[SpecShown]


class LaunchIn(Given):
    """A launch of a registered model. What is left out is chosen by the hub."""

    model_name: Name
    model_type: ModelType = "LLM"
    uid: Name | None = Field(
        default=None, description="Its name while it runs; by default the model's, with random characters if taken."
    )
    engine: Name | None = None
    format: Name | None = None
    size: Name | int | float | None = Field(default=None, description="Billions of parameters: 7, 1.8 or 1_8.")
    quantization: Name | None = None
    replicas: Replicas = Field(default=1, description="Processes that serve it; a call goes to the least busy.")
    n_gpu: Annotated[int, Field(strict=True, ge=0, le=1024)] | Literal["auto"] = "auto"
    gpu_idx: Annotated[list[Gpu], Field(max_length=1024)] | None = None
    context_length: Count | None = Field(default=None, description="Tokens of one call.")
    slots: Annotated[int, Field(strict=True, ge=1, le=4096)] | None = Field(
        default=None, description="Calls that a replica answers at the same time."
    )
    engine_arguments: JsonObject = Field(default={}, description="Of the engine, by name; they are checked.")
    model_path: Text | None = Field(default=None, description="Weights on the hub's machine to take instead.")
    pinned: Flag = Field(default=False, description="Never unloaded by itself.")
    idle_unload_seconds: PositiveSeconds | None = Field(
        default=None, description="Seconds without a call until it is unloaded; the next call loads it again."
    )
    evict: Flag = Field(default=False, description="Unload what was not used for longest where memory is short.")
    projector: Name | None = Field(default=None, description="The image encoder, of those that the spec names.")
    trust_remote_code: Flag = Field(default=False, description="Let Python code that comes with the weights run.")
    environment: Annotated[JsonObject, AfterValidator(_text_values)] = Field(
        default={}, description="Variables for the engine's processes."
    )
    start_seconds: Annotated[float, Field(strict=True, gt=0, le=86_400)] = 1800.0


class StartIn(LaunchIn):
    wait: Flag = Field(default=True, description="Answer when it is ready; else at once, while it goes on.")


class FileProgress(Shown):
    name: str
    done: int
    total: int | None


class Stage(Shown):
    state: str
    fraction: float = Field(description="Of the whole launch, 0 to 1.")
    text: str
    at: float
    files: list[FileProgress]


class Replica(Shown):
    id: int
    state: str = Field(description="`starting`, `ready`, `restarting`, `failed` or `stopping`.")
    pid: int | None
    port: int | None
    address: str
    memory: int | None = Field(description="Bytes.")
    gpus: list[int]
    restarts: int
    reason: str = Field(description="What ended it last.")
    since: float


class Launched(Shown):
    uid: str
    model_name: str
    model_type: str
    state: str = Field(
        description="`queued`, `downloading`, `loading`, `ready`, `unloaded` (the next call loads it), `failed` or "
        "`stopping`."
    )
    reason: str
    last_words: str
    stage: Stage
    replicas: list[Replica]
    wanted_replicas: int
    engine: str
    format: str
    size: str | None
    quantization: str
    abilities: list[str]
    context_length: int | None
    n_gpu: int | str | None
    pinned: bool
    idle_unload_seconds: float | None
    idle_seconds: float | None
    created_at: float


class LaunchedList(Shown):
    data: list[Launched]


class Progress(Shown):
    fraction: float
    stages: list[Stage]


class ReplicasIn(Given):
    replicas: Replicas


class Explanation(Shown):
    uid: str
    engine: str
    format: str
    size: str | None
    quantization: str
    reasons: list[str] = Field(description="What was found of each engine.")
    notes: list[str]
    abilities: list[str]
    context_length: int | None
    engine_arguments: dict[str, Any]


class Engine(Shown):
    name: str
    usable: bool
    version: str | None
    formats: list[str]
    reason: str = Field(description="Why it cannot be used here, and what to install.")


class Engines(Shown):
    data: list[Engine]


class CachedWeights(Shown):
    model_name: str
    model_type: str
    model_version: str
    format: str
    size: str | None
    quantization: str
    path: str
    bytes: int


class CachedList(Shown):
    data: list[CachedWeights]
