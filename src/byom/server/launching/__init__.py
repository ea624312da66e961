"""Launched weights: specs that are registered, and the engines' processes that serve them, from start to end."""
