"""Which sentences of a text are the most central: LexRank over TF-IDF vectors (Erkan and Radev, 2004).

Similarities are found through an inverted index. Above `FULL_RANK` sentences the nearest to the centroid are
taken first, in linear time, so the quadratic part is bounded however long the text is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from byom.host.builtin.tokens import words

FULL_RANK = 200
"""Sentences that are compared each with each."""
_DAMPING = 0.85
_ROUNDS = 30
_THRESHOLD = 0.05
_CHECK_EVERY = 64

Vector = dict[str, float]


def rank(texts: Sequence[str], query: str, check: Callable[[], None]) -> list[int]:
    """Positions of ``texts``, the most central first.

    ``query`` (a question that was asked of the text, or nothing) pulls sentences that share its words forward.
    ``check`` is called now and then and ends the work by raising.
    """
    vectors = _tf_idf(texts, check)
    centroid = _nearness_to_centroid(vectors)
    by_centroid = sorted(range(len(texts)), key=lambda position: (-centroid[position], position))
    kept = sorted(by_centroid[:FULL_RANK])
    scores = _power_iteration(_similarities([vectors[position] for position in kept], check), _pull(kept, texts, query))
    best = sorted(range(len(kept)), key=lambda index: (-scores[index], kept[index]))
    return [kept[index] for index in best] + by_centroid[FULL_RANK:]


def _tf_idf(texts: Sequence[str], check: Callable[[], None]) -> list[Vector]:
    counts: list[Counter[str]] = []
    for number, text in enumerate(texts):
        if number % _CHECK_EVERY == 0:
            check()
        counts.append(Counter(words(text)))
    document_frequency: Counter[str] = Counter()
    for count in counts:
        document_frequency.update(count.keys())
    total = len(texts) + 1
    idf = {word: math.log(total / frequency) for word, frequency in document_frequency.items()}
    return [_normalised({word: (1 + math.log(n)) * idf[word] for word, n in count.items()}) for count in counts]


def _normalised(vector: Vector) -> Vector:
    length = math.sqrt(sum(value * value for value in vector.values()))
    return {word: value / length for word, value in vector.items()} if length else {}


def _nearness_to_centroid(vectors: list[Vector]) -> list[float]:
    centroid: Vector = {}
    for vector in vectors:
        for word, value in vector.items():
            centroid[word] = centroid.get(word, 0.0) + value
    return [sum(value * centroid[word] for word, value in vector.items()) for vector in vectors]


def _similarities(vectors: list[Vector], check: Callable[[], None]) -> list[list[tuple[int, float]]]:
    """For each sentence its neighbours with their cosine, where that is not negligible."""
    index: dict[str, list[tuple[int, float]]] = {}
    neighbours: list[list[tuple[int, float]]] = [[] for _ in vectors]
    for position, vector in enumerate(vectors):
        if position % 8 == 0:
            check()
        cosines: dict[int, float] = {}
        for word, value in vector.items():
            postings = index.setdefault(word, [])
            for other, weight in postings:
                cosines[other] = cosines.get(other, 0.0) + value * weight
            postings.append((position, value))
        for other, cosine in cosines.items():
            if cosine > _THRESHOLD:
                neighbours[position].append((other, cosine))
                neighbours[other].append((position, cosine))
    return neighbours


def _pull(kept: list[int], texts: Sequence[str], query: str) -> list[float]:
    """Where the walk starts anew: anywhere, but twice as often where the words of the query are."""
    asked = set(words(query))
    overlap = [len(asked.intersection(words(texts[position]))) / len(asked) if asked else 0.0 for position in kept]
    total = sum(1 + share for share in overlap) or 1.0
    return [(1 + share) / total for share in overlap]


def _power_iteration(neighbours: list[list[tuple[int, float]]], start: list[float]) -> list[float]:
    outgoing = [sum(weight for _, weight in row) for row in neighbours]
    scores = list(start)
    for _ in range(_ROUNDS):
        following = [(1 - _DAMPING) * share for share in start]
        for position, row in enumerate(neighbours):
            if not outgoing[position]:
                continue
            share = _DAMPING * scores[position] / outgoing[position]
            for other, weight in row:
                following[other] += share * weight
        moved = sum(abs(new - old) for new, old in zip(following, scores, strict=True))
        scores = following
        if moved < 1e-6:
            break
    return scores
