"""Models that are always there: no key, no network, no weights.

``extractive`` answers with the most central sentences of what it is given; ``lexical`` embeds and ranks texts by
the words and letters they share. Pure Python, deterministic.
"""
