"""Specs: what weights are, where they are, and what they can do."""
