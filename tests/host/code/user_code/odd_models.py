"""A contract for tests: what a model does is named by the last message, ``verb argument``."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from byom_worker.contract import CallError, LoadError, ModelDescription, Served

kept: list[object] = []


class Sync(Served):
    def __init__(self, name, options, **fields):
        self.description = ModelDescription(name, "function", streaming=True, **fields)
        self.options = options

    def warm_up(self):
        path = self.options.get("fail_while_exists")
        if path and os.path.exists(path):
            raise RuntimeError("the weights are not there")

    def chat(self, request, context):
        verb, _, rest = request["messages"][-1]["content"].partition(" ")
        return getattr(self, verb)(rest, request, context)

    def say(self, rest, request, context):
        yield {"text": rest}

    def version(self, rest, request, context):
        yield {"text": "{}.{}".format(*sys.version_info)}

    def counted(self, rest, request, context):
        yield {"text": "one ", "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
        yield {"text": "two", "finish_reason": "length", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}

    def sleep(self, rest, request, context):
        time.sleep(float(rest))
        yield {"text": "slept"}

    def who(self, rest, request, context):
        yield {"text": f"{context.user}|{context.config}"}

    def fail(self, rest, request, context):
        raise ValueError(rest)
        yield

    def refuse(self, rest, request, context):
        raise CallError("not today", status=429, code="too_soon", retry_after=7)
        yield

    def die(self, rest, request, context):
        yield {"text": "last words"}
        os._exit(int(rest))

    def crash(self, rest, request, context):
        ctypes.string_at(0)
        yield

    def hang(self, rest, request, context):
        yield {"text": "hanging"}
        while True:
            pass

    def polite(self, rest, request, context):
        yield {"text": "waiting"}
        context.cancelled.wait()
        yield {"text": "never read"}

    def count(self, rest, request, context):
        try:
            for number in range(int(rest)):
                with open(self.options["count_file"], "w") as file:
                    file.write(str(number))
                yield {"text": "x" * 20_000}
        finally:
            with open(self.options["count_file"] + ".closed", "w") as file:
                file.write("closed")

    def leak(self, rest, request, context):
        while True:
            kept.append(bytearray(os.urandom(1024)) * 4096)
            time.sleep(0.01)
        yield

    def shout(self, rest, request, context):
        line = "x" * 99 + "\n"
        for _ in range(int(rest) * 10_000):
            sys.stdout.write(line)
        yield {"text": "done"}

    def tell(self, rest, request, context):
        print("out:", rest)
        print("err:", rest, file=sys.stderr)
        os.system("echo from a child")
        yield {"text": "told"}

    def close(self, rest="", request=None, context=None):
        """Both the verb and what the worker calls at its end."""
        if request is None:
            return None
        os.close(1)
        os.close(2)
        return iter([{"text": repr(sys.stdin.read())}])

    def spawn(self, rest, request, context):
        """A child, a daemon that left the session, and an orphan of an orphan."""
        script = (
            "import os,sys,time\n"
            "if os.fork(): os._exit(0)\n"
            "os.setsid()\n"
            "if os.fork(): os._exit(0)\n"
            "open(sys.argv[1], 'w').write(str(os.getpid()))\n"
            "time.sleep(600)"
        )
        child = subprocess.Popen(["sleep", "600"])
        subprocess.run([sys.executable, "-c", script, rest + ".daemon"], check=True)
        path = Path(rest + ".daemon")
        while not path.exists() or not path.read_text():
            time.sleep(0.01)
        yield {"text": f"{child.pid} {path.read_text()} {os.getpid()} {os.getppid()}"}

    def disconnect(self, rest, request, context):
        os.closerange(3, 2000)
        yield {"text": "nobody hears this"}

    def fork(self, rest, request, context):
        os.fork()
        yield {"text": "answered"}

    def bomb(self, rest, request, context):
        for _ in range(400):
            if os.fork() == 0:
                time.sleep(600)
            time.sleep(0.005)
        yield {"text": "nobody stopped me"}

    def double(self, rest, request, context):
        """Children that fork, too, for a few seconds."""
        until = time.monotonic() + 8
        for _ in range(100):
            if os.fork() == 0:
                while time.monotonic() < until:
                    time.sleep(0.1)
                    os.fork()
                os._exit(0)
            time.sleep(0.02)
        yield {"text": "nobody stopped me"}

    def leave(self, rest, request, context):
        sys.exit(3)
        yield

    def number(self, rest, request, context):
        yield {"text": "x", "logprob": float("nan")}

    def keeper(self, rest, request, context):
        os.kill(os.getppid(), 9)
        time.sleep(60)
        yield


class Async(Served):
    asynchronous = True

    def __init__(self, name, options):
        self.description = ModelDescription(name, "function")
        self.loop = None

    async def chat(self, request, context):
        verb, _, rest = request["messages"][-1]["content"].partition(" ")
        loops = "same" if self.loop in (None, asyncio.get_running_loop()) else "other"
        self.loop = self.loop or asyncio.get_running_loop()
        if verb == "block":
            time.sleep(float(rest))  # noqa: ASYNC251 - what this model is for
        elif verb == "mixed":
            await asyncio.sleep(0.001)
            time.sleep(float(rest))  # noqa: ASYNC251 - what this model is for
        elif verb == "await":
            await asyncio.sleep(float(rest))
        elif verb == "forever":
            try:
                yield {"text": "waiting"}
                await asyncio.Event().wait()
            finally:
                Path(rest).write_text("ended")  # noqa: ASYNC240
        yield {"text": f"{loops} {threading.current_thread() is threading.main_thread()}"}


class Vectors(Served):
    def __init__(self, name, options):
        self.description = ModelDescription(
            name,
            "function",
            abilities=["embed", "rerank"],
            batch_size=2,
            dimensions=1,
            cost={"input": "0.000001", "output": "0"},
        )

    def embed(self, texts, options, context):
        given = {"nan": [float("nan")], "text": ["a"], "whole": [1, 2], "few": None}.get(texts[0])
        if texts[0] == "few":
            return {"vectors": []}
        return {"vectors": [given or [float(len(texts))] for _ in texts]}

    def rerank(self, query, documents, context):
        return {"documents": [{"index": i, "score": 1 / (1 + i)} for i in range(len(documents))]}


def load(target, options):
    if target == "missing":
        raise LoadError("there is no object 'missing'; there are: a, b")
    if target.startswith("when "):
        if not os.path.exists(target[5:]):
            raise LoadError("not yet")
    elif target == "raises":
        raise KeyError("OPENAI_API_KEY")
    elif target == "exits":
        os._exit(9)
    elif target == "sleeps":
        time.sleep(600)
    models = [
        Sync("sync", options),
        Sync("single", options, concurrency=1),
        Async("async", options),
        Vectors("vectors", options),
    ]
    return models + [Sync(model["name"], options) for model in options.get("models") or []]
