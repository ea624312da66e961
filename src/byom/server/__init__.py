"""Puts the application together: management API, sign-in, health, metrics."""
