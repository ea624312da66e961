"""llama.cpp, through xllamacpp's wheels: GGUF anywhere, from the CPU on."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from byom.runtime.engines.arguments import Argument
from byom.runtime.engines.packages import find_package
from byom.runtime.engines.seam import Command, Installed, Launch, Offer, Slot
from byom.runtime.placement import visible_devices

CACHE_TYPES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32,
               "q4_0": 18 / 32, "iq4_nl": 18 / 32}  # fmt: skip
"""Bytes of a value in the cache, by type."""

_LARGE = 256 * 1024**2
"""Bytes of weights from which a first call would notice that they were not touched yet."""

ARGUMENTS: tuple[Argument, ...] = (
    Argument(name="n_gpu_layers", type="int", least=-1, help="layers on the GPU; -1 is all"),
    Argument(name="main_gpu", type="int", least=0, help="the GPU for small tensors, among those it is given"),
    Argument(name="split_mode", type="text", choices=("none", "layer", "row"), help="how GPUs share the weights"),
    Argument(name="tensor_split", type="floats", least=0, help="the share of each GPU"),
    Argument(name="n_batch", type="int", least=1, most=65536, help="tokens of a prompt in one step"),
    Argument(name="n_ubatch", type="int", least=1, most=65536, help="tokens in one step of the hardware"),
    Argument(name="n_threads", type="int", least=1, most=1024, help="processors for answers"),
    Argument(name="n_threads_batch", type="int", least=1, most=1024, help="processors for prompts"),
    Argument(name="flash_attn", type="text", choices=("auto", "on", "off"), help="flash attention"),
    Argument(name="cache_type_k", type="text", choices=tuple(CACHE_TYPES), help="the type of keys in the cache"),
    Argument(name="cache_type_v", type="text", choices=tuple(CACHE_TYPES), help="the type of values in the cache"),
    Argument(name="rope_freq_base", type="float", least=0, help="base of the rotary embedding"),
    Argument(name="rope_freq_scale", type="float", least=0, help="scale of the rotary embedding"),
    Argument(name="pooling", type="text", choices=("none", "mean", "cls", "last", "rank"), help="how texts are summed"),
    Argument(name="prompt_cache_mib", type="int", least=0, most=1 << 20, help="memory for prompts of earlier calls"),
    Argument(name="warmup", type="bool", help="run once before the first call"),
    Argument(name="check_tensors", type="bool", help="look at every value of the weights while loading"),
    Argument(name="reasoning_format", type="text", choices=("none", "auto", "deepseek"), help="where thoughts go"),
    Argument(name="log_level", type="int", least=0, most=5, help="how much it writes; 3 has a line for each call"),
)


class LlamaCpp:
    name = "llama.cpp"
    title = "llama.cpp (xllamacpp)"
    arguments = ARGUMENTS
    quantizes_on_load = False
    needs_gpu = False

    def __init__(self, python: str | None = None) -> None:
        self._python = python

    def installed(self) -> Installed:
        return find_package("xllamacpp", python=self._python, hint="pip install 'byom[llamacpp]'")

    def against(self, offer: Offer, /) -> tuple[str, ...]:
        if offer.variant.format != "ggufv2":
            return (f"it reads GGUF (ggufv2), not {offer.variant.format}",)
        return ()

    def kv_element_size(self, arguments: dict[str, Any]) -> float:
        types = [arguments.get("cache_type_k", "f16"), arguments.get("cache_type_v", "f16")]
        return sum(CACHE_TYPES[kind] for kind in types) / 2

    def command(self, launch: Launch, _slot: Slot, /) -> Command:
        spec = launch.spec
        pooling = launch.info.pooling or ("rank" if spec.kind == "rerank" else None)
        configuration = {
            "model": str(launch.path),
            "projector": None if launch.projector is None else str(launch.projector),
            "name": launch.name,
            "context_length": launch.context_length,
            "parallel": launch.parallel,
            "threads": launch.threads,
            "gpu": bool(launch.gpus),
            "embedding": spec.kind != "LLM" or "embed" in spec.abilities,
            "pooling": pooling or ("mean" if spec.kind == "embedding" or "embed" in spec.abilities else None),
            "chat_template": spec.chat_template,
            "stop": list(spec.stop),
            "warmup": launch.info.bytes > _LARGE,
            "arguments": launch.arguments,
        }
        return Command(
            argv=(self._python or sys.executable, "-m", "byom.runtime.engines.llamacpp_server"),
            env=visible_devices(launch.gpus),
            configuration=msgspec.json.encode(configuration),
            own=True,
            served_model=launch.name,
        )
