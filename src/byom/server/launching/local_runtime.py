"""Engines and weights of this machine; the way from a plan to a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from byom.errors import BadRequest
from byom.runtime.engines.arguments import check_arguments
from byom.runtime.engines.choose import choose, usable_engines
from byom.runtime.engines.known import engine_named, known_engines
from byom.runtime.engines.seam import Launch
from byom.runtime.fetch.cache import CachedModel, ModelCache, cache_key
from byom.runtime.fetch.fetcher import Fetcher, needed_names
from byom.runtime.fetch.files import Fetched, Progress
from byom.runtime.hardware import Gpu, Hardware, detect_hardware
from byom.runtime.last_words import LastWords
from byom.runtime.memory import plan_memory
from byom.runtime.placement import place
from byom.runtime.process import EngineProcess
from byom.runtime.specs.fields import normal_size
from byom.runtime.specs.forms import ModelSpec, Variant
from byom.runtime.specs.places import place_of
from byom.runtime.weights.info import WeightsInfo
from byom.runtime.weights.inspect import inspect_weights
from byom.server.launching.records import Cached, EngineShown, FileProgress
from byom.server.launching.request import LaunchRequest
from byom.server.launching.seam import Plan, Prepared, Reserved, Tell

ON_LOAD_BITS = {"4-bit": 4, "8-bit": 8}
FORMATS = {
    "llama.cpp": ("ggufv2",),
    "transformers": ("pytorch", "bnb", "gptq", "awq"),
    "vLLM": ("pytorch", "gptq", "awq", "fp8", "bnb"),
    "SGLang": ("pytorch", "gptq", "awq", "fp8", "bnb"),
}
"""What each reads, for an overview; whether it can serve a spec it says itself."""


class LocalRuntime:
    """A `byom.server.launching.seam.Runtime`. ``home``: of the hub. ``pythons``: as `known_engines` takes them."""

    def __init__(self, home: Path, pythons: Mapping[str, str] | None = None) -> None:
        self._fetcher = Fetcher(home / "models")
        self._engines = known_engines(pythons)

    # -- choosing

    def resolve(self, spec: ModelSpec, request: LaunchRequest, uid: str) -> Plan:
        choice = choose(
            spec,
            detect_hardware(),
            self._engines,
            forced=request.engine,
            size=None if request.size is None else normal_size(request.size),
            format=request.format,
            quantization=request.quantization,
        )
        engine, variant = choice.engine, choice.variant
        arguments = check_arguments(engine.arguments, request.engine_arguments, engine.title)
        if request.model_path is not None:
            variant = _with_path(variant, request.model_path)
        abilities = {"embedding": ("embed",), "rerank": ("rerank",)}.get(spec.kind, spec.abilities)
        return Plan(
            uid=uid,
            request=msgspec.structs.replace(request, engine_arguments=arguments),
            spec=msgspec.to_builtins(msgspec.structs.replace(spec, variants=(variant,))),
            variant=msgspec.to_builtins(variant),
            engine=engine.name,
            reasons=choice.explanation.splitlines(),
            abilities=list(abilities),
            context_length=request.context_length or spec.context_length or spec.max_tokens,
            dimensions=spec.dimensions,
        )

    # -- weights

    async def fetch(self, plan: Plan, tell: Tell) -> Fetched:
        def heard(news: Progress) -> None:
            tell([FileProgress(name=news.file, done=news.done, total=news.total)])

        return await self._fetcher.fetch(
            msgspec.convert(plan.variant, Variant),
            projector=plan.request.projector,
            code=plan.request.trust_remote_code,
            on_progress=heard,
        )

    # -- processes

    def prepare(self, plan: Plan, weights: Fetched, number: int, reserved: Reserved) -> Prepared:
        engine = engine_named(plan.engine, self._engines)
        spec, variant = msgspec.convert(plan.spec, ModelSpec), msgspec.convert(plan.variant, Variant)
        request = plan.request
        hardware = _without(detect_hardware(), reserved)
        gpus = place(hardware, request.n_gpu, _own_gpus(request, number))
        info: WeightsInfo = inspect_weights(weights.path, weights.parts)
        memory = plan_memory(
            info,
            hardware,
            gpus=gpus,
            context_length=request.context_length or spec.context_length,
            parallel=request.slots,
            kv_element_size=engine.kv_element_size(request.engine_arguments),
            on_load_bits=ON_LOAD_BITS.get(variant.quantization) if variant.format == "pytorch" else None,
        )
        launch = Launch(
            name=plan.uid,
            spec=spec,
            variant=variant,
            path=weights.path,
            projector=weights.projector,
            info=info,
            context_length=memory.context_length,
            parallel=memory.parallel,
            gpus=gpus,
            arguments=request.engine_arguments,
            trust_remote_code=request.trust_remote_code,
        )
        return Prepared(
            memory=memory.estimate.total, gpus=gpus, context_length=memory.context_length, slots=memory.parallel,
            notes=memory.notes, launch=launch,
        )  # fmt: skip

    def process(self, plan: Plan, prepared: Prepared, token: str, output: Callable[[str], None]) -> EngineProcess:
        engine = engine_named(plan.engine, self._engines)
        request = plan.request
        process = EngineProcess(
            engine, prepared.launch, start_timeout=request.start_seconds, on_output=output, env=request.environment
        )
        process.token = token  # all replicas are called with the same
        process.last_words = LastWords(token)
        return process

    # -- the machine

    def engines(self) -> list[EngineShown]:
        return [
            EngineShown(
                name=one.engine, usable=one.usable, version=one.version, formats=list(FORMATS.get(one.engine, ())),
                reason="; ".join(one.reasons),
            )
            for one in usable_engines(self._engines, detect_hardware())
        ]  # fmt: skip

    def cached(self, specs: Sequence[ModelSpec]) -> list[Cached]:
        found = []
        for one in self._cache.list():
            known = [(spec, variant) for spec in specs for variant in spec.variants if _from(variant, one.key)]
            here = [pair for pair in known if self._cache.is_complete(pair[1], needed_names(pair[1]))]
            found += [_shown(spec, variant, one) for spec, variant in here] or [_unnamed(one)]
        return found

    def remove_cached(self, path: str) -> None:
        self._cache.remove(Path(path).name)

    @property
    def _cache(self) -> ModelCache:
        return self._fetcher.cache


def _from(variant: Variant, key: str) -> bool:
    """Whether the variant was fetched into this folder of the cache."""
    if variant.uri is not None and place_of(variant.uri).kind == "local":
        return False
    return cache_key(variant) == key


def _shown(spec: ModelSpec, variant: Variant, cached: CachedModel) -> Cached:
    size = f"{variant.size}B" if variant.size else ""
    version = "--".join(part for part in (spec.name, size, variant.format, variant.quantization) if part)
    return Cached(
        model_name=spec.name, model_type=spec.kind, model_version=version, format=variant.format, size=variant.size,
        quantization=variant.quantization, path=str(cached.path), bytes=cached.size_bytes,
    )  # fmt: skip


def _unnamed(cached: CachedModel) -> Cached:
    """Weights of no spec that is registered now."""
    return Cached(
        model_name=cached.source,
        model_type="",
        model_version=cached.key,
        path=str(cached.path),
        bytes=cached.size_bytes,
    )


def _own_gpus(request: LaunchRequest, number: int) -> tuple[int, ...] | None:
    """The share of one replica of the GPUs that were named."""
    if request.gpu_idx is None:
        return None
    each = max(1, len(request.gpu_idx) // request.replicas)
    first = number * each % len(request.gpu_idx)
    return request.gpu_idx[first : first + each]


def _without(hardware: Hardware, reserved: Reserved) -> Hardware:
    """What is left for this replica."""
    gpus: tuple[Gpu, ...] = tuple(
        msgspec.structs.replace(one, memory_free=max(0, one.memory_free - reserved.gpus.get(one.index, 0)))
        for one in hardware.gpus
    )
    free = max(0, hardware.memory_available - reserved.memory)
    return msgspec.structs.replace(hardware, memory_available=free, gpus=gpus)


def _with_path(variant: Variant, path: str) -> Variant:
    """The variant with weights of this machine instead of its own place."""
    if not Path(path).is_absolute() or not Path(path).exists():
        raise BadRequest(f"model_path: there is no {path} on the hub's machine; give a whole path", param="model_path")
    return msgspec.structs.replace(variant, uri=path, checksums={})
