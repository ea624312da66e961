"""From a spec and what was asked for to a launch that an engine can start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from byom.errors import BadRequest
from byom.runtime.engines.arguments import check_arguments
from byom.runtime.engines.choose import Choice, choose
from byom.runtime.engines.seam import Engine, Launch
from byom.runtime.fetch.fetcher import Fetcher
from byom.runtime.fetch.files import Fetched, OnProgress
from byom.runtime.hardware import Hardware, detect_hardware
from byom.runtime.memory import MemoryPlan, plan_memory
from byom.runtime.placement import place
from byom.runtime.specs.fields import normal_size
from byom.runtime.specs.forms import ModelSpec, Variant
from byom.runtime.specs.local_weights import local_files
from byom.runtime.specs.names import name_problem
from byom.runtime.weights.inspect import inspect_weights

_CONTEXT = ("context_length", "n_ctx", "max_model_len")
_PARALLEL = ("parallel", "n_parallel", "max_num_seqs")
_ON_LOAD_BITS = {"4-bit": 4, "8-bit": 8}


class LaunchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What may be said at a launch. ``None`` leaves it to BYOM."""

    name: str | None = None
    """The name (uid) under which it serves; that of the spec by default."""
    engine: str | None = None
    size: int | float | str | None = None
    format: str | None = None
    quantization: str | None = None
    n_gpu: int | Literal["auto"] | None = "auto"
    gpu_idx: int | tuple[int, ...] | None = None
    model_path: str | None = None
    """Weights to take in place of those of the spec."""
    projector: str | None = None
    trust_remote_code: bool = False
    arguments: dict[str, Any] = {}
    """Of the engine. ``n_ctx``, ``max_model_len``, ``n_parallel`` and ``max_num_seqs`` may stand here too."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    choice: Choice
    launch: Launch
    memory: MemoryPlan

    @property
    def explanation(self) -> str:
        """For ``byom launch --explain``."""
        lines = [self.choice.explanation]
        where = f"GPU {', '.join(map(str, self.launch.gpus))}" if self.launch.gpus else "the CPU"
        lines.append(
            f"on {where}: {self.launch.parallel} calls at a time of {self.launch.context_length} tokens, "
            f"about {self.memory.estimate.total / 1024**3:.2f} GiB"
        )
        return "\n".join([*lines, *self.memory.notes])


async def prepare_launch(
    spec: ModelSpec,
    request: LaunchRequest,
    *,
    engines: Sequence[Engine],
    fetcher: Fetcher,
    hardware: Hardware | None = None,
    on_progress: OnProgress | None = None,
    on_stage: Callable[[Literal["downloading", "checking"]], None] | None = None,
    reserved: int = 0,
) -> Prepared:
    """Chooses the engine and the variant, fetches the weights, looks into them, and fits them into the memory.

    Args:
        hardware: looked at now where it is not given.
        reserved: bytes promised to launches that have not taken them yet.

    Raises what `choose`, `check_arguments`, `place`, `Fetcher.fetch` and `plan_memory` raise, and `WeightsCorrupt`.
    What can be refused without fetching is refused before it.
    """
    name = request.name or spec.name
    if problem := name_problem(name):
        raise BadRequest(f"model_uid {problem[0]}. {problem[1]}.", param="model_uid")
    machine = hardware if hardware is not None else await asyncio.to_thread(detect_hardware)
    gpus = place(machine, request.n_gpu, request.gpu_idx)
    seen = msgspec.structs.replace(machine, gpus=tuple(gpu for gpu in machine.gpus if gpu.index in gpus))
    choice = choose_for(spec, request, engines=engines, hardware=seen)
    engine, variant = choice.engine, choice.variant
    given = dict(request.arguments)
    context, parallel = _whole(given, _CONTEXT), _whole(given, _PARALLEL)
    arguments = check_arguments(engine.arguments, given, engine.name)
    tell = on_stage or _nobody
    tell("downloading")
    fetched = await _weights(variant, request, fetcher, on_progress)
    tell("checking")
    info = await asyncio.to_thread(inspect_weights, fetched.path, fetched.parts)
    plan = plan_memory(
        info,
        machine,
        gpus=gpus,
        context_length=context or spec.context_length or spec.max_tokens,
        parallel=parallel,
        kv_element_size=engine.kv_element_size(arguments),
        on_load_bits=_ON_LOAD_BITS.get(variant.quantization) if engine.quantizes_on_load else None,
        reserved=reserved,
    )
    launch = Launch(
        name=name,
        spec=spec,
        variant=variant,
        path=fetched.path,
        projector=fetched.projector,
        info=info,
        context_length=plan.context_length,
        parallel=plan.parallel,
        gpus=gpus,
        threads=machine.cpus,
        arguments=arguments,
        trust_remote_code=request.trust_remote_code,
    )
    return Prepared(choice=choice, launch=launch, memory=plan)


def choose_for(spec: ModelSpec, request: LaunchRequest, *, engines: Sequence[Engine], hardware: Hardware) -> Choice:
    """The engine and the variant that a launch would get, without fetching. Raises what `choose` raises."""
    return choose(
        spec,
        hardware,
        engines,
        forced=request.engine,
        size=_size(request.size),
        format=request.format,
        quantization=request.quantization,
    )


def _nobody(_stage: Literal["downloading", "checking"]) -> None:
    """Nobody wants to know."""


async def _weights(
    variant: Variant, request: LaunchRequest, fetcher: Fetcher, on_progress: OnProgress | None
) -> Fetched:
    if request.model_path is None:
        return await fetcher.fetch(
            variant, projector=request.projector, code=request.trust_remote_code, on_progress=on_progress
        )
    return await asyncio.to_thread(_given_path, variant, request.model_path)


def _given_path(variant: Variant, given: str) -> Fetched:
    path = Path(given).expanduser()
    if not path.is_absolute() or not path.exists():
        raise BadRequest(f"model_path {given} is no absolute path that exists here.", param="model_path")
    local = local_files(msgspec.structs.replace(variant, uri=str(path)))
    first, parts = local if local is not None else (path, ())
    return Fetched(path=first, parts=parts)


def _size(value: float | str | None) -> str | None:
    if value is None:
        return None
    size = normal_size(value)
    if size is None:
        raise BadRequest(
            f"model_size_in_billions is {value!r}. Give a number such as 7.", param="model_size_in_billions"
        )
    return size


def _whole(given: dict[str, Any], names: tuple[str, ...]) -> int | None:
    """Takes the argument out, under whichever of its names it was given."""
    found = None
    for name in names:
        value = given.pop(name, None)
        if value is None:
            continue
        try:
            found = int(value)
        except (TypeError, ValueError):
            found = 0
        if isinstance(value, bool) or found < 1:
            raise BadRequest(f"{name} is {value!r}. Give a whole number from 1 on.", param=name)
    return found
