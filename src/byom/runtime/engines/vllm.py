"""vLLM: many calls at a time on NVIDIA GPUs."""

from __future__ import annotations

import sys
from typing import Any

from byom.runtime.engines.arguments import Argument, flags
from byom.runtime.engines.packages import find_package
from byom.runtime.engines.seam import Command, Installed, Launch, Offer, Slot
from byom.runtime.placement import visible_devices

ARGUMENTS: tuple[Argument, ...] = (
    Argument(name="dtype", type="text", choices=("auto", "half", "float16", "bfloat16", "float", "float32"),
             aliases=("torch_dtype",), help="the type of the weights in memory"),
    Argument(name="gpu_memory_utilization", type="float", least=0.01, most=1, help="the share of the GPU it takes"),
    Argument(name="kv_cache_dtype", type="text", choices=("auto", "fp8", "fp8_e4m3", "fp8_e5m2", "bfloat16"),
             help="the type of the cache"),
    Argument(name="tensor_parallel_size", type="int", least=1, most=1024, help="GPUs that share each layer"),
    Argument(name="pipeline_parallel_size", type="int", least=1, most=1024, help="GPUs that share the layers"),
    Argument(name="max_num_batched_tokens", type="int", least=1, help="tokens in one step"),
    Argument(name="enforce_eager", type="bool", help="no CUDA graphs: faster to start, slower after"),
    Argument(name="enable_prefix_caching", type="bool", help="keep the cache of beginnings that recur"),
    Argument(name="cpu_offload_gb", type="float", least=0, help="weights that stay in the machine's memory, in GiB"),
    Argument(name="seed", type="int", least=0, help="seed of the random numbers"),
    Argument(name="tool_call_parser", type="text", help="how tool calls are written by this model"),
    Argument(name="reasoning_parser", type="text", help="how thoughts are written by this model"),
    Argument(name="hf_overrides", type="object", help="values in place of those of config.json"),
    Argument(name="limit_mm_per_prompt", type="object", help="images in one prompt"),
)  # fmt: skip
_METHODS = {"bnb": "bitsandbytes"}


class Vllm:
    name = "vLLM"
    title = "vLLM"
    arguments = ARGUMENTS
    quantizes_on_load = True
    needs_gpu = True

    def __init__(self, python: str | None = None) -> None:
        self._python = python

    def installed(self) -> Installed:
        hint = "an environment of its own: uv pip install vllm, then engines.vllm in the settings names its python"
        return find_package("vllm", python=self._python, hint=hint)

    def against(self, offer: Offer, /) -> tuple[str, ...]:
        spec, variant, hardware = offer.spec, offer.variant, offer.hardware
        reasons = []
        if hardware.system != "linux":
            reasons.append("it runs on Linux")
        if not hardware.gpus:
            reasons.append("it needs a GPU, and this machine has none")
        if variant.format == "ggufv2":
            reasons.append("it reads GGUF in trials only; llama.cpp reads it in full")
        capability = max((gpu.compute_capability or 0.0 for gpu in hardware.gpus), default=0.0)
        if hardware.gpus and variant.format == "fp8" and 0.0 < capability < 8.9:
            reasons.append(f"fp8 needs compute capability 8.9, the GPU has {capability:g}")
        if "embed" in spec.abilities and {"chat", "generate"} & set(spec.abilities):
            reasons.append("one process of it either embeds or generates")
        return tuple(reasons)

    def kv_element_size(self, arguments: dict[str, Any]) -> float:
        return 1.0 if str(arguments.get("kv_cache_dtype", "")).startswith("fp8") else 2.0

    def command(self, launch: Launch, slot: Slot, /) -> Command:
        given = dict(launch.arguments)
        words = [
            "--host", "127.0.0.1", "--port", str(slot.port), f"--served-model-name={launch.name}",
            "--max-model-len", str(launch.context_length), "--max-num-seqs", str(launch.parallel),
        ]  # fmt: skip
        if len(launch.gpus) > 1 and not {"tensor_parallel_size", "pipeline_parallel_size"} & set(given):
            words += ["--tensor-parallel-size", str(len(launch.gpus))]
        words += self._kind(launch, given, slot)
        if launch.variant.quantization in ("4-bit", "8-bit") or launch.variant.format in _METHODS:
            words += ["--quantization", "bitsandbytes"]
        if launch.trust_remote_code:
            words.append("--trust-remote-code")
        words += flags(ARGUMENTS, given)
        return Command(
            argv=(self._python or sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(launch.path), *words),
            env={**visible_devices(launch.gpus), "VLLM_API_KEY": slot.token},
            port=slot.port,
            served_model=launch.name,
        )

    def _kind(self, launch: Launch, given: dict[str, Any], slot: Slot) -> list[str]:
        """What the model shall do: pool, chat with a template, call tools, think."""
        spec = launch.spec
        if spec.kind != "LLM" or not {"chat", "generate"} & set(spec.abilities):
            return ["--runner", "pooling"]
        words: list[str] = []
        if spec.chat_template is not None:
            template = slot.folder / "chat_template.jinja"
            template.write_text(spec.chat_template, encoding="utf-8")
            words += ["--chat-template", str(template)]
        if "tools" in spec.abilities:
            parser = given.pop("tool_call_parser", None) or spec.tool_parser or "hermes"
            words += ["--enable-auto-tool-choice", f"--tool-call-parser={parser}"]
        return words
