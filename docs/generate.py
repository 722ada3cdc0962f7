"""Writes the pages of this folder that the code already knows; `--check` only says whether they are up to date."""

import sys
from pathlib import Path

from docs.generating.command_line import command_line
from docs.generating.components import components
from docs.generating.labs import lab_pages
from docs.generating.names import metrics, settings
from docs.generating.routes import routes

FOLDER = Path(__file__).parent
PAGES = {
    "components.md": components,
    "metrics.md": metrics,
    "settings.md": settings,
    "labs.md": lab_pages,
    "api.md": routes,
    "cli.md": command_line,
}


def main() -> int:
    stale = []
    for name, write in PAGES.items():
        path, text = FOLDER / name, "\n\n".join(write()) + "\n"
        if "--check" in sys.argv:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"docs/{', docs/'.join(stale)} no longer say what the code says: run `make docs`.\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
