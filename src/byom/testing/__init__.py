"""Public test doubles: an OpenAI-compatible upstream, and a model, that do what their script says.

>>> from byom.testing import Behavior, FakeUpstream
>>> with FakeUpstream(Behavior(text="Hello")) as upstream:
...     upstream.base_url.startswith("http://127.0.0.1:")
True

`FakeUpstream` is a real server on a real loopback socket; `ScriptedModel` stands in for a model on the object
path, where no wire is involved. Run a fake upstream by hand with
``python -m byom.testing.fake_upstream --port 9000 --behavior latency=0.2``.
"""

from byom.testing.behavior import (
    Behavior,
    BehaviorError,
    RateLimit,
    ScriptedToolCall,
)
from byom.testing.records import Disconnect, RecordedRequest
from byom.testing.scripted_model import ScriptedModel
from byom.testing.upstream import FakeUpstream, Handler, Response

__all__ = [
    "Behavior",
    "BehaviorError",
    "Disconnect",
    "FakeUpstream",
    "Handler",
    "RateLimit",
    "RecordedRequest",
    "Response",
    "ScriptedModel",
    "ScriptedToolCall",
]
