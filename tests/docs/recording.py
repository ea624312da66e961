"""Records the tour as docs/images/demo.svg, which loads no font: ``python -m tests.docs.recording``."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from byom.cli.tour import Tour

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "demo.svg"


def main() -> int:
    console = Console(record=True, width=104, force_terminal=True, file=io.StringIO())
    Tour(console).run()
    form = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(console.export_svg(title="byom demo", code_format=form, unique_id="demo"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
