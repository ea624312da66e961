"""BYOM's tests."""
