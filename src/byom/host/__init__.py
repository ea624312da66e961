"""Serves Python models as an OpenAI-compatible process, and runs such processes as children."""
