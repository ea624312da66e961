"""SGLang: many calls at a time on NVIDIA GPUs, with shared beginnings of prompts."""

from __future__ import annotations

import json
import sys
from typing import Any

from byom.runtime.engines.arguments import Argument, flags
from byom.runtime.engines.packages import find_package
from byom.runtime.engines.seam import Command, Installed, Launch, Offer, Slot
from byom.runtime.placement import visible_devices

ARGUMENTS: tuple[Argument, ...] = (
    Argument(name="dtype", type="text", choices=("auto", "half", "float16", "bfloat16", "float", "float32"),
             aliases=("torch_dtype",), help="the type of the weights in memory"),
    Argument(name="mem_fraction_static", type="float", least=0.01, most=1, help="the share of the GPU it takes"),
    Argument(name="kv_cache_dtype", type="text", choices=("auto", "fp8_e5m2", "fp8_e4m3"),
             help="the type of the cache"),
    Argument(name="tp_size", type="int", least=1, most=1024, aliases=("tensor_parallel_size",),
             help="GPUs that share each layer"),
    Argument(name="dp_size", type="int", least=1, most=1024, help="copies that share the calls"),
    Argument(name="chunked_prefill_size", type="int", least=-1, help="tokens of a prompt in one step"),
    Argument(name="attention_backend", type="text", help="how attention is computed"),
    Argument(name="disable_cuda_graph", type="bool", help="faster to start, slower after"),
    Argument(name="tool_call_parser", type="text", help="how tool calls are written by this model"),
    Argument(name="reasoning_parser", type="text", help="how thoughts are written by this model"),
    Argument(name="random_seed", type="int", least=0, help="seed of the random numbers"),
)  # fmt: skip
_FORMATS = ("pytorch", "gptq", "awq", "fp8", "bnb")


class Sglang:
    name = "SGLang"
    title = "SGLang"
    arguments = ARGUMENTS
    quantizes_on_load = False
    needs_gpu = True

    def __init__(self, python: str | None = None) -> None:
        self._python = python

    def installed(self) -> Installed:
        hint = "an environment of its own: uv pip install sglang, then engines.sglang in the settings names its python"
        return find_package("sglang", python=self._python, hint=hint)

    def against(self, offer: Offer, /) -> tuple[str, ...]:
        spec, variant = offer.spec, offer.variant
        reasons = []
        if offer.hardware.system != "linux":
            reasons.append("it runs on Linux")
        if not offer.hardware.gpus:
            reasons.append("it needs a GPU, and this machine has none")
        if variant.format not in _FORMATS:
            reasons.append(f"it reads {', '.join(_FORMATS)}, not {variant.format}")
        if variant.quantization in ("4-bit", "8-bit"):
            reasons.append("it does not quantize on load")
        if "embed" in spec.abilities and {"chat", "generate"} & set(spec.abilities):
            reasons.append("one process of it either embeds or generates")
        return tuple(reasons)

    def kv_element_size(self, arguments: dict[str, Any]) -> float:
        return 1.0 if str(arguments.get("kv_cache_dtype", "")).startswith("fp8") else 2.0

    def command(self, launch: Launch, slot: Slot, /) -> Command:
        spec, given = launch.spec, dict(launch.arguments)
        settings: dict[str, Any] = {
            "model-path": str(launch.path),
            "host": "127.0.0.1",
            "port": slot.port,
            "served-model-name": launch.name,
            "context-length": launch.context_length,
            "max-running-requests": launch.parallel,
            "api-key": slot.token,
        }
        if len(launch.gpus) > 1 and "tp_size" not in given:
            settings["tp-size"] = len(launch.gpus)
        if spec.kind != "LLM" or not {"chat", "generate"} & set(spec.abilities):
            settings["is-embedding"] = True
        elif spec.chat_template is not None:
            template = slot.folder / "chat_template.jinja"
            template.write_text(spec.chat_template, encoding="utf-8")
            settings["chat-template"] = str(template)
        if "tools" in spec.abilities and spec.tool_parser and "tool_call_parser" not in given:
            settings["tool-call-parser"] = spec.tool_parser
        if launch.variant.format == "bnb":
            settings |= {"quantization": "bitsandbytes", "load-format": "bitsandbytes"}
        if launch.trust_remote_code:
            settings["trust-remote-code"] = True
        # In a file that nobody else can read: the command line shows the key to everybody on the machine.
        configuration = slot.folder / "sglang.yaml"
        configuration.touch(mode=0o600)
        configuration.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items()))
        words = ["--config", str(configuration), *flags(ARGUMENTS, given)]
        return Command(
            argv=(self._python or sys.executable, "-m", "sglang.launch_server", *words),
            env=visible_devices(launch.gpus),
            port=slot.port,
            served_model=launch.name,
        )
