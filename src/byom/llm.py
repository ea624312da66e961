"""Models as Python objects: LLooM's `Model`, `EmbedModel`, `OpenAIModel`, `OpenAIEmbedModel`, and a base for classes.

They work as they are, without a hub: ``await model.generate(prompt)`` keeps to the model's own rate limit and counts
tokens and dollars. ``byom add file.py:object`` makes the same object a model of the hub.

>>> from byom.llm import Model
>>> def setup(api_key):
...     return None
>>> def call(model, prompt):
...     return prompt.upper(), (2, 2)
>>> model = Model(name="shout", setup_fn=setup, fn=call, rate_limit=(300, 10), cost=(1e-6, 2e-6))
>>> import asyncio
>>> asyncio.run(model.generate("good morning")).text
'GOOD MORNING'
>>> model.spent.cost
Decimal('0.000006000000')
"""

from byom._llm.models import Embedded, EmbedModel, Generated, Model
from byom._llm.openai_models import OpenAIEmbedModel, OpenAIModel
from byom._llm.spending import Spending
from byom.host.worker.contracts.base_model import BaseModel

__all__ = [
    "BaseModel",
    "EmbedModel",
    "Embedded",
    "Generated",
    "Model",
    "OpenAIEmbedModel",
    "OpenAIModel",
    "Spending",
]
