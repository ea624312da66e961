"""Runs pieces of code that use the client, one after the other: started by `tests.dialects.xinference.clients`.

Each line of the input is ``{"code", "given"}``; the code is the body of a function that knows ``Client`` and what is
given; where a ``url`` is given, ``client`` too. Each line of the output is ``{"result": …}`` or ``{"kind", "text"}``.
"""

import json
import sys
import textwrap

import xinference_client
from xinference_client import RESTfulClient as Client

ANSWERS = sys.stdout
sys.stdout = sys.stderr


def run(code: str, given: dict) -> object:
    names = {"Client": Client, "json": json, "xinference_client": xinference_client, **given}
    if "url" in given:
        names["client"] = Client(given["url"], api_key=given.get("key"))
    exec("def piece():\n" + textwrap.indent(textwrap.dedent(code), "    "), names)
    return names["piece"]()


for line in sys.stdin:
    try:
        answer = {"result": run(**json.loads(line))}
    except Exception as error:  # noqa: BLE001 - whatever the client raises is the answer
        answer = {"kind": type(error).__name__, "text": str(error)}
    ANSWERS.write(json.dumps(answer) + "\n")
    ANSWERS.flush()
