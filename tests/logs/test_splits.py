import numpy as np
import pyarrow as pa

from causalign import Logs, Roles
from causalign.logs.splits import draw_held_out, draw_one_per_group


def logs(y, n=None, **roles):
    table = {
        "text": [f"t{i % 7}" for i in range(len(y))],
        "y": y,
        "g": [i // 3 for i in range(len(y))],
    }
    if n is not None:
        table["n"] = n
    return Logs.of(
        pa.table(table), Roles("text", "y", trials="n" if n is not None else None, **roles)
    )


def test_held_out_keeps_groups_and_texts_together():
    by_group = logs(list(range(300)), group="g")
    held = draw_held_out(by_group, 0.3, 0)
    assert held.sum() == 90
    assert all(len(set(held[by_group.groups == g])) == 1 for g in range(100))
    by_text = logs(list(range(70)))
    held = draw_held_out(by_text, 0.3, 0)
    texts = np.array(by_text.completions)
    assert not set(texts[held]) & set(texts[~held])


def test_one_per_group_keeps_one_and_depends_on_the_seed():
    many = logs(list(range(300)), group="g")
    first, second = draw_one_per_group(many, 0), draw_one_per_group(many, 1)
    assert len(first) == len(set(first.groups)) == 100
    assert first.completions != second.completions or (first.outcome != second.outcome).any()
