"""Weights that are made once for all tests of this area."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real GGUF with random weights; skips with a line where it cannot be made."""
    pytest.importorskip("gguf", reason="the package gguf makes the weights of these tests")
    from tests.runtime.tiny_gguf import write_tiny_gguf

    return write_tiny_gguf(tmp_path_factory.mktemp("weights") / "tiny.F32.gguf")
