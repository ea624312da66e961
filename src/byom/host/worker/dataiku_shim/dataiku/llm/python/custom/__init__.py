"""Older places of the bases."""
