"""Which GPUs a launch takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from byom.errors import BadRequest, Unavailable
from byom.runtime.hardware import Hardware


def place(
    hardware: Hardware,
    n_gpu: int | Literal["auto"] | None = "auto",
    gpu_idx: int | Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Indices of GPUs, the emptiest first where they are not named; ``()`` is the CPU.

    ``n_gpu`` ``"auto"`` takes one where there is any, ``None`` and 0 take none; ``gpu_idx`` wins over it.
    Raises `BadRequest` for what is no such number, `Unavailable` where the machine has too few.
    """
    present = {gpu.index for gpu in hardware.gpus}
    if gpu_idx is not None:
        wanted = (gpu_idx,) if isinstance(gpu_idx, int) else tuple(gpu_idx)
        missing = [index for index in wanted if index not in present]
        if missing or len(set(wanted)) != len(wanted) or any(isinstance(index, bool) for index in wanted):
            there = ", ".join(map(str, sorted(present))) or "none"
            raise BadRequest(f"gpu_idx is {list(wanted)}; this machine has the GPUs: {there}.", param="gpu_idx")
        return wanted
    if n_gpu is None or n_gpu == 0:
        return ()
    emptiest = [gpu.index for gpu in sorted(hardware.gpus, key=lambda gpu: (-gpu.memory_free, gpu.index))]
    if n_gpu == "auto":
        return tuple(emptiest[:1])
    if isinstance(n_gpu, bool) or n_gpu < 0:
        raise BadRequest(f"n_gpu is {n_gpu!r}. Give a number, auto, or null for the CPU.", param="n_gpu")
    if n_gpu > len(emptiest):
        raise Unavailable(f"{n_gpu} GPUs are asked for, and this machine has {len(emptiest)}.", code="no_gpu")
    return tuple(emptiest[:n_gpu])


def visible_devices(gpus: tuple[int, ...]) -> dict[str, str]:
    """The environment that shows an engine these GPUs alone."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus)) if gpus else "-1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
