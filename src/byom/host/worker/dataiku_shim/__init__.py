"""Holds the module ``dataiku`` for plugin code and notebooks: this folder goes on the path of such code.

``python -m byom.host.worker.dataiku_shim`` prints the folder, for a notebook's ``PYTHONPATH`` or a ``.pth`` file.
"""

from __future__ import annotations

import os

FOLDER = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - a plain string, for sys.path
