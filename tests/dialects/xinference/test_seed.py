"""The first page that there was on custom models, run as it is written: register a spec, launch it, call it.

Only the import, the endpoint and the place of the weights are other ones: two billion parameters from Hugging Face are
not for a test.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.xinference.clients import SERIES, xinference_client
from tests.dialects.xinference.open_hub import open_hub
from tests.runtime.tiny_gguf import write_tiny_gguf

PAGES = Path(__file__).parents[4] / "shared" / "seeds"
BLOCK = re.compile(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)")
WEIGHTS = """
custom_model["model_specs"][0] |= {"model_format": "ggufv2", "quantizations": ["F32"], "model_uri": weights,
                                   "model_file_name_template": "tiny.gguf"}
"""


def blocks() -> list[str]:
    pages = sorted(PAGES.glob("001*"))
    if not pages:
        pytest.skip(f"the page is not at {PAGES}")
    return [textwrap.dedent(found) for found in BLOCK.findall(pages[0].read_text(encoding="utf-8"))]


def program(url: str) -> str:
    """The page's blocks as one piece that returns the answer."""
    spec, register, launch, call = blocks()
    register = register.replace(
        "from xinference.client import Client", "from xinference_client import RESTfulClient as Client"
    )
    register = register.replace("http://localhost:9997", url)
    call = call.replace("model.generate(prompt=text)", "answer = model.generate(prompt=text)")
    pieces = [spec, WEIGHTS, register, launch, call, "client.terminate_model(uid)", "return [uid, answer]"]
    return "\n".join(pieces)


@pytest.mark.parametrize("series", SERIES)
def test_the_page_runs_as_it_is_written(tmp_path: Path, series: int) -> None:
    weights = write_tiny_gguf(tmp_path / "tiny.gguf", context=700).parent
    with open_hub(tmp_path / "home") as url, xinference_client(series) as client:
        uid, answer = client.run(program(url), weights=str(weights))
    assert uid == "nsql-2B"
    _check(answer)


def _check(answer: dict[str, Any]) -> None:
    assert (answer["object"], answer["model"]) == ("text_completion", "nsql-2B")
    (choice,) = answer["choices"]
    assert isinstance(choice["text"], str)
    assert choice["finish_reason"] in ("stop", "length")
    usage = answer["usage"]
    # The prompt has 301 bytes, and the tokenizer of these weights is one of bytes.
    assert usage["prompt_tokens"] > 250
    assert usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
