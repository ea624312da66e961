"""Reaching an upstream: URL forms, network policy with pinned addresses, connection check, probe."""
