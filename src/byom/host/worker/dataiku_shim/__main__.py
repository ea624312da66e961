"""Prints the folder that holds the module ``dataiku``."""

from __future__ import annotations

from . import FOLDER

if __name__ == "__main__":
    print(FOLDER)
