"""The embedding and rerank model ``lexical``: texts are near where they share words and parts of words.

Features are case-folded words and, within longer words, runs of three to five characters, so that inflected and
misspelt words still meet. Words count by their length, since short words are the frequent ones that say little.
Each feature is hashed to one dimension with a sign (feature hashing), the vector is scaled to length one.
"""

from __future__ import annotations

import math
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from byom.errors import BadRequest
from byom.host.builtin.tokens import UNSPACED, count_tokens, words
from byom.host.builtin.work import Check, Workers
from byom.host.served import RankedDocument, Ranking
from byom.types.embeddings import Embeddings
from byom.types.model_info import ModelInfo
from byom.types.usage import Price, Usage

DIMENSIONS = 384
MAX_DIMENSIONS = 4096
_MAX_WORD = 64
"""Characters of a word that are looked at; longer "words" are data."""
_WORD_WEIGHT = 1.0
_GRAM_WEIGHT = 0.35

Features = dict[str, float]


class LexicalModel:
    """Embeds and ranks texts by what they have in common on the surface. The same text has the same vector on
    every machine. A text without words has a vector of its own punctuation; only an empty one is refused."""

    max_dimensions = MAX_DIMENSIONS

    def __init__(self, workers: Workers, name: str = "lexical") -> None:
        self.info = ModelInfo(
            name=name,
            abilities=frozenset({"embed", "rerank"}),
            dimensions=DIMENSIONS,
            price=Price(input=0, output=0, source="local"),
            details={"description": "Finds texts that share words and parts of words."},
        )
        self._workers = workers

    async def embed(self, texts: Sequence[str], dimensions: int | None = None) -> Embeddings:
        """One vector of length one for each text. Raises `BadRequest` for impossible ``dimensions``."""
        size = DIMENSIONS if dimensions is None else dimensions
        if not 1 <= size <= MAX_DIMENSIONS:
            raise BadRequest(f"dimensions must be between 1 and {MAX_DIMENSIONS}.", param="dimensions")

        def work(check: Check) -> Embeddings:
            vectors: list[list[float]] = []
            total = 0
            for text in texts:
                check()
                vectors.append(embedding(text, size))
                total += count_tokens(text)
            return Embeddings(vectors=vectors, usage=Usage(prompt_tokens=total), model=self.info.name)

        return await self._workers.run(work)

    async def rerank(self, query: str, documents: Sequence[str]) -> Ranking:
        """All documents, the best first, with scores from 0 to 1. Features that few documents have count more."""
        return await self._workers.run(lambda check: _ranking(query, documents, check))

    async def aclose(self) -> None:
        """Nothing to give back: the threads belong to the host."""


def embedding(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """The vector of one text, of length one (all zeros for an empty text)."""
    vector = [0.0] * dimensions
    for feature, weight in features(text).items():
        digest = zlib.crc32(feature.encode("utf-8", "surrogatepass"))
        # The sign keeps collisions from adding up; its bit does not take part in the position.
        position = (digest & 0x7FFFFFFF) % dimensions
        vector[position] += weight if digest & 0x80000000 else -weight
    length = math.sqrt(math.fsum(value * value for value in vector))
    if not length:
        return vector
    return [value / length for value in vector]


def features(text: str) -> Features:
    """Words and parts of words, each with its weight."""
    folded = unicodedata.normalize("NFKC", text)
    found = words(folded)
    if not found:
        return {f"c {char}": 1.0 for char in folded if not char.isspace()}
    weights: Features = {}
    for word, count in Counter(found).items():
        often = 1.0 + math.log(count)
        short = word[:_MAX_WORD]
        weights[f"w {short}"] = weights.get(f"w {short}", 0.0) + often * _WORD_WEIGHT * _telling(short)
        for gram in _grams(short):
            weights[gram] = weights.get(gram, 0.0) + often * _GRAM_WEIGHT
    for first, second in pairwise(found):
        # Where words are not spaced, pairs of characters are what comes nearest to words.
        if UNSPACED.match(first) and UNSPACED.match(second):
            weights[f"p {first}{second}"] = 1.0
    return weights


def _telling(word: str) -> float:
    if UNSPACED.match(word):
        return 0.5
    return min(1.0, 0.15 + 0.15 * len(word))


def _grams(word: str) -> list[str]:
    if len(word) < 4:
        return []
    framed = f"^{word}$"
    return [f"g {framed[at : at + size]}" for size in (3, 4, 5) for at in range(len(framed) - size + 1)]


def _ranking(query: str, documents: Sequence[str], check: Check) -> Ranking:
    found: list[Features] = []
    frequency: Counter[str] = Counter()
    total = count_tokens(query)
    for document in documents:
        check()
        each = features(document)
        found.append(each)
        frequency.update(each.keys())
        total += count_tokens(document)
    rarity = {feature: math.log1p(len(documents) / count) for feature, count in frequency.items()}
    wanted = _scaled(features(query), rarity, len(documents))
    scored = []
    for index, each in enumerate(found):
        check()
        scaled = _scaled(each, rarity, len(documents))
        score = math.fsum(weight * scaled[feature] for feature, weight in wanted.items() if feature in scaled)
        scored.append(RankedDocument(index=index, score=min(1.0, max(0.0, score))))
    scored.sort(key=lambda item: (-item.score, item.index))
    return Ranking(documents=scored, usage=Usage(prompt_tokens=total))


def _scaled(found: Features, rarity: dict[str, float], documents: int) -> Features:
    unseen = math.log1p(documents)
    weighted = {feature: weight * rarity.get(feature, unseen) for feature, weight in found.items()}
    length = math.sqrt(math.fsum(weight * weight for weight in weighted.values()))
    return {feature: weight / length for feature, weight in weighted.items()} if length else {}
