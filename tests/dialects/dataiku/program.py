"""Runs pieces of code that use the client, one after the other: started by `tests.dialects.dataiku.clients`.

Each line of the input is ``{"code", "url", "key"}``; the code is the body of a function that knows ``client``,
``project``, ``url`` and ``key``. Each line of the output is ``{"result": …}`` or ``{"classes": [...], "text": …}``.
"""

import json
import sys
import textwrap

import dataikuapi

ANSWERS = sys.stdout
sys.stdout = sys.stderr


def run(code: str, url: str, key: str) -> object:
    client = dataikuapi.DSSClient(url, key)
    names = {"dataikuapi": dataikuapi, "url": url, "key": key, "client": client}
    names["project"] = client.get_project("ANY_PROJECT")
    exec("def piece():\n" + textwrap.indent(textwrap.dedent(code), "    "), names)
    return names["piece"]()


for line in sys.stdin:
    try:
        answer = {"result": run(**json.loads(line))}
    except Exception as error:  # noqa: BLE001 - whatever the client raises is the answer
        answer = {
            "classes": [one.__name__ for one in type(error).__mro__],
            "text": str(error),
        }
    ANSWERS.write(json.dumps(answer) + "\n")
    ANSWERS.flush()
