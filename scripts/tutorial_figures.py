"""Copy figures of a run folder into docs/tutorials, on white, so that they read on any page.

python scripts/tutorial_figures.py runs/bristol/5-evaluate/ranking.svg docs/tutorials/x.svg
"""

import re
import sys
from pathlib import Path

INK = "#1d2329"
MARGIN = 12  # points


def on_white(svg: str) -> str:
    """Return the picture with a white ground, a margin and ink of its own.

    Inside a report, figures take their colours from the page; an image in a page cannot.
    """
    _, _, width, height = map(float, re.search(r'viewBox="([^"]*)"', svg)[1].split())
    wide, high = width + 2 * MARGIN, height + 2 * MARGIN
    inner = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    inner = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", inner, count=1)
    place = f'x="{MARGIN}" y="{MARGIN}" width="{width:g}" height="{height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high:g}" '
        f'width="{wide:g}" height="{high:g}" color="{INK}">'
        f'<rect width="100%" height="100%" fill="white"/>'
        f"{inner.strip().replace('<svg ', f'<svg {place} ', 1)}</svg>\n"
    )


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(on_white(source.read_text("utf-8")), encoding="utf-8")
    print(target)
