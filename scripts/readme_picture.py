"""Draw the picture of README: what markers seem to add to a mail, and what they do add.

python scripts/readme_picture.py     writes docs/images/markers.svg
"""

from pathlib import Path

from tutorial_figures import on_white

import causalign as ca
from causalign.figures import COLOURS
from causalign.svg import INK, open_canvas, to_svg

TARGET = Path(__file__).parents[1] / "docs" / "images" / "markers.svg"
PLAIN = {  # the marker's name in the audit, and how the firm writes it
    "happy monday": "“Happy Monday!”",
    "with free returns": "“with free returns”",
    "while stocks last": "“while stocks last”",
    "terms and conditions apply": "“terms and conditions apply”",
    "in three colours": "“in three colours”",
}


def main() -> None:
    """Audit the simulated newsletter and draw the markers that its firm wrote on purpose."""
    logs = ca.simulate.Newsletter().simulate().logs
    audit = ca.audit.audit_markers(logs, encoder="tfidf+style")
    rows = {}
    for row in audit.table().to_pylist():
        for name, label in PLAIN.items():
            if row["marker"] == name:
                rows[label] = row
    with open_canvas(6.4, 0.9 + 0.42 * len(rows)) as (canvas, axes):
        axes.axvline(0, color=INK, alpha=0.45, linewidth=1)
        for place, row in enumerate(rows.values()):
            ends = row["naive"], row["deconfounded"]
            axes.plot(ends, [place, place], color="#8a8a8a", linewidth=2.4, zorder=1)
            for index, (end, words) in enumerate(
                zip(ends, ("as logged", "deconfounded"), strict=True)
            ):
                colour = COLOURS[1 - index]
                label = words if place == 0 else None
                axes.plot([end], [place], "so"[index], color=colour, markersize=8, label=label)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("effect on minutes read")
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.02), ncols=2)
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(on_white(to_svg(canvas)), encoding="utf-8")
    print(TARGET)


if __name__ == "__main__":
    main()
