"""What a launch is asked for."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from byom.catalog.names import check_name
from byom.errors import ConfigError
from byom.server.launching.records import MODEL_TYPES

ModelType = Literal["LLM", "embedding", "rerank"]
_REPLICA = re.compile(r"-rep\d+$")
_SIZE = re.compile(r"\d{1,6}([._]\d{1,6})?")
MOST_REPLICAS = 64


class LaunchRequest(msgspec.Struct, kw_only=True, frozen=True):
    """A launch of a registered model. ``None``: chosen here."""

    model_name: str
    model_type: ModelType = "LLM"
    uid: str | None = None
    """What the model is called while it runs; by default its name, with random characters where that is taken."""
    engine: str | None = None
    format: str | None = None
    size: str | None = None
    """Billions of parameters: ``7``, ``1.8`` or ``1_8``."""
    quantization: str | None = None
    replicas: Annotated[int, Meta(ge=1, le=MOST_REPLICAS)] = 1
    n_gpu: Annotated[int, Meta(ge=0, le=1024)] | Literal["auto"] = "auto"
    """GPUs of each replica; 0 for none."""
    gpu_idx: tuple[Annotated[int, Meta(ge=0, le=1023)], ...] | None = None
    """Which GPUs, shared out over the replicas in this order."""
    context_length: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    slots: Annotated[int, Meta(ge=1, le=4096)] | None = None
    """Calls that a replica answers at the same time."""
    engine_arguments: dict[str, Any] = {}
    """Further arguments of the engine, by their names there. They are checked, and never pass a shell."""
    model_path: str | None = None
    """Weights on the hub's machine to take instead of fetching them."""
    pinned: bool = False
    """Never unloaded to make room, nor for being idle."""
    idle_unload_seconds: Annotated[float, Meta(gt=0)] | None = None
    """Seconds without a call after which its processes end; the next call starts them again."""
    evict: bool = False
    """Make room, where there is too little memory, by unloading models that were not used for longest."""
    projector: str | None = None
    """The image encoder's file, of those that the spec names."""
    trust_remote_code: bool = False
    """Let Python code that comes with the weights run."""
    environment: dict[str, str] = {}
    """Variables for the engine's processes."""
    start_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 1800.0
    """The longest that loading may take."""


def of(fields: dict[str, Any]) -> LaunchRequest:
    """A checked request. Raises `ConfigError` naming the field."""
    given = {name: value for name, value in fields.items() if value is not None}
    unknown = sorted(set(given) - set(LaunchRequest.__struct_fields__))
    if unknown:
        raise ConfigError(f"launch: there is no field {unknown[0]!r}", param=unknown[0])
    if isinstance(given.get("size"), int | float):
        given["size"] = f"{given['size']:g}"
    if isinstance(given.get("gpu_idx"), int):
        given["gpu_idx"] = [given["gpu_idx"]]
    try:
        request = msgspec.convert(given, LaunchRequest)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        param = where.rstrip("`").split("[")[0] or None
        raise ConfigError(f"launch: {param or 'request'}: {what[0].lower() + what[1:]}", param=param) from error
    return check(request)


def check(request: LaunchRequest) -> LaunchRequest:
    """``request`` itself. Raises `ConfigError` naming the field."""
    if request.model_type not in MODEL_TYPES:
        raise ConfigError(f"model_type: it is one of {', '.join(MODEL_TYPES)}", param="model_type")
    if request.uid is not None:
        check_uid(request.uid)
    if request.size is not None and not _SIZE.fullmatch(request.size):
        raise ConfigError("size: give billions of parameters, such as 7, 1.8 or 1_8", param="size")
    if request.gpu_idx is not None:
        if len(set(request.gpu_idx)) != len(request.gpu_idx):
            raise ConfigError("gpu_idx: a GPU is named twice", param="gpu_idx")
        if not request.gpu_idx or len(request.gpu_idx) % request.replicas:
            text = f"gpu_idx: {len(request.gpu_idx)} GPUs cannot be shared out evenly over {request.replicas} replicas"
            raise ConfigError(text, param="gpu_idx")
    return request


def check_uid(uid: str) -> str:
    """``uid`` itself. Raises `ConfigError`: it stands in URLs, and names connection and model."""
    check_name("connection", uid)
    wrong = next((char for char in uid if char in "+/?%#&=\\" or char.isspace()), None)
    if wrong is not None or uid in (".", ".."):
        raise ConfigError(f"uid: {uid!r} stands in URLs: leave out + / ? % # & = \\ and spaces", param="uid")
    if len(uid) > 100:
        raise ConfigError(f"uid: it has {len(uid)} characters, at most 100 are allowed", param="uid")
    if _REPLICA.search(uid):
        raise ConfigError(f"uid: {uid!r} ends like the name of a replica (-rep and a number)", param="uid")
    return uid
