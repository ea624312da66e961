"""Engines: their checked arguments, their command lines, and which is chosen where."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from byom.errors import BadRequest, Unavailable
from byom.runtime.engines.arguments import ArgumentsInvalid, check_arguments
from byom.runtime.engines.choose import NoEngine, choose, engines_for, usable_engines
from byom.runtime.engines.known import engine_named, known_engines
from byom.runtime.engines.llamacpp import ARGUMENTS
from byom.runtime.engines.seam import Command, Engine, Installed, Launch, Slot
from byom.runtime.hardware import Gpu, Hardware, detect_hardware, parse_nvidia_smi
from byom.runtime.memory import NotEnoughMemory, estimate_memory, plan_memory
from byom.runtime.placement import place
from byom.runtime.specs.forms import ModelSpec
from byom.runtime.specs.read import read_spec
from byom.runtime.weights.info import WeightsInfo

GIB = 1 << 30
CARD = Gpu(index=0, name="H200", uuid="GPU-a", memory_total=139 * GIB, memory_free=130 * GIB, compute_capability=9.0)
CPU = Hardware(cpus=4, memory_total=16 * GIB, memory_available=12 * GIB)
GPU = msgspec.structs.replace(CPU, gpus=(CARD,))
TWO = msgspec.structs.replace(CPU, gpus=(CARD, msgspec.structs.replace(CARD, index=1, memory_free=10 * GIB)))
ALL = {name: Installed(version="1", python=sys.executable) for name in ("llama.cpp", "transformers", "vLLM", "SGLang")}
SEVEN = WeightsInfo(bytes=14 * GIB, layers=32, kv_heads=8, head_size_k=128, head_size_v=128, context_length=32768)
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def spec_of(*entries: dict[str, Any], kind: str = "LLM", **fields: Any) -> ModelSpec:
    head = (
        {"model_name": "m", "model_ability": ["chat"], "chat_template": TEMPLATE}
        if kind == "LLM"
        else {"model_name": "m"}
    )
    specs = [{"model_size_in_billions": 7, "model_id": "org/m", **entry} for entry in entries]
    return read_spec({**head, "model_specs": specs, **fields}, kind).spec


FOLDER = {"model_format": "pytorch", "quantizations": ["4-bit", "none"]}
GGUF = {"model_format": "ggufv2", "quantization": "Q4_K_M", "model_file_name_template": "m.{quantization}.gguf"}
AWQ = {"model_format": "awq", "quantization": "Int4"}


@pytest.mark.parametrize(
    ("entries", "hardware", "engine", "variant"),
    [
        ((FOLDER,), CPU, "transformers", "pytorch 7B none"),
        ((FOLDER,), GPU, "vLLM", "pytorch 7B none"),
        ((GGUF,), CPU, "llama.cpp", "ggufv2 7B Q4_K_M"),
        ((GGUF,), GPU, "llama.cpp", "ggufv2 7B Q4_K_M"),
        ((FOLDER, GGUF), CPU, "llama.cpp", "ggufv2 7B Q4_K_M"),
        ((AWQ,), GPU, "vLLM", "awq 7B Int4"),
    ],
)
def test_the_engine_follows_format_and_hardware(
    entries: tuple[dict[str, Any], ...], hardware: Hardware, engine: str, variant: str
) -> None:
    choice = choose(spec_of(*entries), hardware, known_engines(), installed=ALL)
    assert (choice.engine.name, choice.variant.label) == (engine, variant)
    assert len(choice.explanation.splitlines()) == 4
    assert f"{engine} 1: chosen, serves {variant}" in choice.explanation


def test_an_engine_can_be_forced_and_says_why_it_cannot() -> None:
    choice = choose(spec_of(FOLDER), GPU, known_engines(), installed=ALL, forced="TRANSFORMERS", quantization="4-bit")
    assert (choice.engine.name, choice.variant.quantization) == ("transformers", "4-bit")
    with pytest.raises(NoEngine, match=r"vLLM cannot serve m here:\n- vLLM 1: it needs a GPU"):
        choose(spec_of(FOLDER), CPU, known_engines(), installed=ALL, forced="vllm")
    with pytest.raises(BadRequest, match=r"There is no engine vlm\. Did you mean vLLM\?"):
        choose(spec_of(FOLDER), CPU, known_engines(), installed=ALL, forced="vlm")


def test_without_an_engine_it_says_what_to_install() -> None:
    nothing = {name: Installed(version=None, hint=f"install {name}") for name in ALL}
    with pytest.raises(NoEngine, match=r"not installed: install llama\.cpp") as caught:
        choose(spec_of(GGUF), CPU, known_engines(), installed=nothing)
    assert len(caught.value.details["engines"]) == 4
    with pytest.raises(BadRequest, match="m has no variant awq"):
        choose(spec_of(GGUF), CPU, known_engines(), installed=ALL, format="awq")


def test_what_is_usable_here_is_listed() -> None:
    verdicts = {verdict.engine: verdict for verdict in usable_engines(known_engines(), CPU)}
    assert not verdicts["vLLM"].usable
    assert "needs a GPU" in " ".join(verdicts["vLLM"].reasons)
    found = engines_for(spec_of(GGUF), known_engines(), CPU)
    assert isinstance(found["transformers"], str)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"n_bach": 1}, "Did you mean n_batch?"),
        ({"n_batch": 0}, "n_batch is 0. Give a whole number from 1 to 65536"),
        ({"n_batch": "x"}, "n_batch is 'x'"),
        ({"n_batch": True}, "n_batch is True"),
        ({"warmup": "perhaps"}, "Give true or false"),
        ({"split_mode": "column"}, "Give one of none, layer, row"),
        ({"rope_freq_base": "nan"}, "Give a number from 0 on"),
        ({"tensor_split": [-1]}, "Give a list of numbers"),
        ({"--rm; true": "x"}, "takes no argument"),
    ],
)
def test_an_argument_that_is_not_allowed_is_told(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentsInvalid) as caught:
        check_arguments(ARGUMENTS, given, "llama.cpp")
    assert says in caught.value.message


def test_arguments_come_as_text_too() -> None:
    given = {"n-batch": "512", "warmup": "no", "tensor_split": "1,2", "flash_attn": True, "n_threads": None}
    checked = check_arguments(ARGUMENTS, given, "llama.cpp")
    assert checked == {"n_batch": 512, "warmup": False, "tensor_split": [1.0, 2.0], "flash_attn": "on"}


def command_of(
    engine: Engine, spec: ModelSpec, folder: Path, gpus: tuple[int, ...] = (0,), **arguments: Any
) -> Command:
    (folder / "weights").mkdir(exist_ok=True)
    (folder / "weights" / "config.json").write_text("{}")
    launch = Launch(
        name="m",
        spec=spec,
        variant=spec.variants[0],
        path=folder / "weights",
        info=SEVEN,
        context_length=4096,
        parallel=8,
        gpus=gpus,
        arguments=check_arguments(engine.arguments, arguments, engine.name),
    )
    files = folder / "slot"
    files.mkdir()
    return engine.command(launch, Slot(port=4321, token="secret-token", folder=files))


@pytest.mark.parametrize("engine", known_engines(), ids=lambda engine: engine.name)
def test_no_command_line_shows_the_token(engine: Engine, tmp_path: Path) -> None:
    command = command_of(engine, spec_of(GGUF if engine.name == "llama.cpp" else AWQ), tmp_path)
    assert "secret-token" not in " ".join(command.argv)
    assert command.own or command.port == 4321
    for path in (tmp_path / "slot").iterdir():
        if path.is_file() and "secret-token" in path.read_text():
            assert path.stat().st_mode & 0o077 == 0


def test_the_command_line_of_vllm(tmp_path: Path) -> None:
    spec = spec_of(AWQ, model_ability=["chat", "tools"])
    command = command_of(engine_named("vllm", known_engines()), spec, tmp_path, (0, 1), enforce_eager="yes")
    words = " ".join(command.argv)
    assert (
        f"serve {tmp_path / 'weights'} --host 127.0.0.1 --port 4321 --served-model-name=m --max-model-len 4096" in words
    )
    assert "--max-num-seqs 8 --tensor-parallel-size 2 --chat-template" in words
    assert "--enable-auto-tool-choice --tool-call-parser=hermes --enforce-eager" in words
    assert command.env["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert command.env["VLLM_API_KEY"] == "secret-token"


def test_the_real_parser_of_vllm_takes_the_command_line(tmp_path: Path) -> None:
    engine = engine_named("vllm", known_engines())
    if engine.installed().version is None:
        pytest.skip("vLLM is not installed here")
    spec = spec_of(AWQ, model_ability=["chat", "tools"])
    command = command_of(engine, spec, tmp_path, (0, 1), kv_cache_dtype="fp8", limit_mm_per_prompt='{"image": 2}')
    program = (
        "import json, sys\n"
        "import vllm.platforms as platforms\n"
        "from vllm.platforms.cpu import CpuPlatform\n"
        "platforms._current_platform = CpuPlatform()\n"  # its parser asks for the device, and there may be none
        "from vllm.entrypoints.launchers.cli_args import make_arg_parser\n"
        "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
        "found = make_arg_parser(FlexibleArgumentParser()).parse_args(sys.argv[1:])\n"
        "print(json.dumps({'port': found.port, 'length': found.max_model_len}))"
    )
    words = command.argv[command.argv.index("serve") + 1 :]
    answer = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout.splitlines()[-1]) == {"port": 4321, "length": 4096}


def test_the_command_line_of_transformers(tmp_path: Path) -> None:
    engine = engine_named("transformers", known_engines())
    command = command_of(engine, spec_of(FOLDER), tmp_path, (), dtype="float32", continuous_batching=True)
    overlay = tmp_path / "slot" / "weights"
    assert command.argv[3:5] == ("serve", str(overlay))
    assert "--device cpu --quantization bnb-4bit --dtype=float32 --continuous-batching" in " ".join(command.argv)
    assert (overlay / "chat_template.jinja").read_text() == TEMPLATE
    assert (overlay / "config.json").read_text() == "{}"
    assert command.served_model == str(overlay)


def test_the_settings_of_sglang(tmp_path: Path) -> None:
    engine = engine_named("sglang", known_engines())
    command = command_of(engine, spec_of(AWQ), tmp_path, mem_fraction_static=0.5)
    text = (tmp_path / "slot" / "sglang.yaml").read_text()
    assert 'served-model-name: "m"\ncontext-length: 4096\nmax-running-requests: 8\n' in text
    assert command.argv[-1] == "--mem-fraction-static=0.5"


def test_memory_gives_way_where_nothing_was_asked_for() -> None:
    whole = estimate_memory(SEVEN, context_length=8192, parallel=4)
    assert whole.kv_cache == 32 * 8 * 256 * 2 * 8192 * 4
    roomy = plan_memory(SEVEN, GPU, gpus=(0,))
    assert (roomy.context_length, roomy.parallel, roomy.notes) == (8192, 4, ())
    short = msgspec.structs.replace(CPU, memory_available=16 * GIB + 200 * (1 << 20))
    plan = plan_memory(SEVEN, short)
    assert plan.parallel < 4
    assert plan.notes
    with pytest.raises(NotEnoughMemory, match="Stop another model, take a smaller quantization"):
        plan_memory(SEVEN, short, context_length=32768, parallel=4)
    with pytest.raises(NotEnoughMemory, match="GPU 1"):
        plan_memory(SEVEN, TWO, gpus=(1,))


def test_gpus_are_placed() -> None:
    assert place(TWO) == (0,)
    assert place(TWO, 2) == (0, 1)
    assert place(TWO, "auto", 1) == (1,)
    assert place(TWO, None) == ()
    assert place(CPU) == ()
    with pytest.raises(Unavailable, match="3 GPUs are asked for"):
        place(TWO, 3)
    with pytest.raises(BadRequest, match=r"gpu_idx is \[7\]"):
        place(TWO, "auto", [7])


def test_nvidia_smi_is_read(tmp_path: Path) -> None:
    line = "0, NVIDIA H200, GPU-1, 143771, 143000, 9.0"
    (card,) = parse_nvidia_smi(f"{line}\n1, broken, GPU-2, [N/A], [N/A], [N/A]\n")
    assert (card.name, card.memory_total, card.compute_capability) == ("NVIDIA H200", 143771 << 20, 9.0)
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!{shutil.which('sh')}\necho '{line}'\n")
    program.chmod(0o755)
    assert detect_hardware(nvidia_smi=str(program)).gpus == (card,)
    program.write_text(f"#!{shutil.which('sh')}\nexit 9\n")
    found = detect_hardware(nvidia_smi=str(program))
    assert found.gpus == ()
    assert 0 < found.memory_available <= found.memory_total
