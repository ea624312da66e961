"""Run by path, in the environment of the user's code: makes this folder the package ``byom_worker`` and starts it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys

PACKAGE = "byom_worker"


def register() -> None:
    """The folder of this file as a package, whatever the environment has installed."""
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib would cost a keeper 5 ms
    spec = importlib.util.spec_from_file_location(
        PACKAGE,
        os.path.join(folder, "__init__.py"),  # noqa: PTH118
        submodule_search_locations=[folder],
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no package in {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(folder):
        sys.path[0] = os.getcwd()  # noqa: PTH109 - the user's folder, as `python -m` has it, and not ours


def main() -> int:
    """``start.py keeper|runner ARGUMENTS…``"""
    register()
    module = importlib.import_module(f"{PACKAGE}.{sys.argv[1]}")
    return int(module.main(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
