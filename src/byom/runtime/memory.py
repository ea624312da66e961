"""How much memory a launch takes, and whether there is so much."""

from __future__ import annotations

import msgspec

from byom.errors import Unavailable
from byom.runtime.hardware import Hardware
from byom.runtime.weights.info import WeightsInfo

GIB = 1024**3
_FIXED = 192 * 1024**2
"""The engine itself, its libraries and scratch space."""
_COMPUTE_SHARE = 0.05
"""Scratch space that grows with the weights."""
DEFAULT_CONTEXT = 8192
DEFAULT_PARALLEL = 4
_LEAST_CONTEXT = 512


class NotEnoughMemory(Unavailable):
    """The weights and their cache do not fit; the message has the sums and what to change."""

    code = "not_enough_memory"
    retryable = False


class MemoryEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes. An estimate: engines round up, and keep caches of their own."""

    weights: int
    kv_cache: int
    overhead: int

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.overhead


class MemoryPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The context of one call in tokens, the number of calls at a time, and what that takes."""

    context_length: int
    parallel: int
    estimate: MemoryEstimate
    notes: tuple[str, ...] = ()


def estimate_memory(
    info: WeightsInfo,
    *,
    context_length: int,
    parallel: int,
    kv_element_size: float = 2.0,
    on_load_bits: int | None = None,
) -> MemoryEstimate:
    """``on_load_bits``: 4 or 8 where the weights, 16 bits each, are quantized as they are loaded."""
    weights = info.bytes if on_load_bits is None else int(info.bytes * on_load_bits / 16 * 1.1)
    per_token = info.kv_bytes_per_token(kv_element_size) or 0.0
    return MemoryEstimate(
        weights=weights,
        kv_cache=int(per_token * context_length * parallel),
        overhead=_FIXED + int(weights * _COMPUTE_SHARE),
    )


def plan_memory(
    info: WeightsInfo,
    hardware: Hardware,
    *,
    gpus: tuple[int, ...] = (),
    context_length: int | None = None,
    parallel: int | None = None,
    kv_element_size: float = 2.0,
    on_load_bits: int | None = None,
    reserved: int = 0,
) -> MemoryPlan:
    """Fits a launch into the memory that is free: what was not asked for gives way, first the calls at a time.

    Args:
        gpus: where the weights go; none is the machine's own memory.
        context_length: as asked for; ``None`` takes what the weights were trained with, at most `DEFAULT_CONTEXT`.
        parallel: as asked for; ``None`` takes `DEFAULT_PARALLEL` or less.
        reserved: bytes that other launches have been promised and not yet taken.

    Raises `NotEnoughMemory` where even the least does not fit.
    """
    free = max(_free(hardware, gpus) - reserved, 0)
    wanted = context_length or min(info.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    contexts = [wanted] if context_length else _halves(wanted)
    counts = [parallel] if parallel else _halves(DEFAULT_PARALLEL, least=1)
    for context in contexts:
        for count in counts:
            estimate = estimate_memory(
                info,
                context_length=context,
                parallel=count,
                kv_element_size=kv_element_size,
                on_load_bits=on_load_bits,
            )
            if estimate.total <= free:
                notes = []
                if count < (parallel or DEFAULT_PARALLEL):
                    notes.append(f"{count} calls at a time instead of {DEFAULT_PARALLEL}: memory is short")
                if context < wanted:
                    notes.append(f"a context of {context} tokens instead of {wanted}: memory is short")
                return MemoryPlan(context_length=context, parallel=count, estimate=estimate, notes=tuple(notes))
    least = estimate_memory(
        info,
        context_length=contexts[-1],
        parallel=counts[-1],
        kv_element_size=kv_element_size,
        on_load_bits=on_load_bits,
    )
    raise NotEnoughMemory(_story(least, free, gpus, contexts[-1], counts[-1]))


def _halves(value: int, least: int = _LEAST_CONTEXT) -> list[int]:
    found = [value]
    while found[-1] // 2 >= least:
        found.append(found[-1] // 2)
    return found


def _free(hardware: Hardware, gpus: tuple[int, ...]) -> int:
    if not gpus:
        return hardware.memory_available
    return sum(gpu.memory_free for gpu in hardware.gpus if gpu.index in gpus)


def _story(least: MemoryEstimate, free: int, gpus: tuple[int, ...], context: int, parallel: int) -> str:
    where = f"GPU {', '.join(map(str, gpus))}" if gpus else "this machine"
    return (
        f"Not enough memory on {where}: about {amount(least.total)} are needed "
        f"(weights {amount(least.weights)}, cache {amount(least.kv_cache)} for {parallel} x {context} tokens, "
        f"engine {amount(least.overhead)}), {amount(free)} are free. "
        "Stop another model, take a smaller quantization, or ask for a shorter context or fewer parallel calls."
    )


def amount(size: float) -> str:
    """``1.5 GiB``, ``12 MiB``."""
    if size >= GIB:
        return f"{size / GIB:.1f} GiB"
    return f"{size / 1024**2:.0f} MiB"
