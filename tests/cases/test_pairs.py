"""Files of preferences that failed: in each format that TRL documents, right or one clear line."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Pairs
from causalign.errors import ColumnNotFound, InputError
from causalign.evaluate import rank, rank_arrays
from causalign.reward import Pairwise
from causalign.reward.examples import Examples


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def written(tmp_path, rows, name="pairs.parquet"):
    path = tmp_path / name
    if name.endswith("jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif name.endswith("csv"):
        cells = [
            {k: v if isinstance(v, str | float) else json.dumps(v) for k, v in row.items()}
            for row in rows
        ]
        pd.DataFrame(cells).to_csv(path, index=False)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


ASKED = "What colour is the sky?"
PLAIN = {"chosen": "It is blue.", "rejected": "It is green."}
TALK = {side: [assistant(text)] for side, text in PLAIN.items()}
WHOLE = {side: [user(ASKED), *turns] for side, turns in TALK.items()}
# TRL's formats of preferences, with explicit and implicit prompts, standard and conversational;
# UltraFeedback's prompt as text beside whole conversations; and what data sets do besides.
FORMATS = {
    "standard, explicit": (PLAIN | {"prompt": ASKED}, ASKED),
    "standard, implicit": (PLAIN, None),
    "conversational, explicit": (TALK | {"prompt": [user(ASKED)]}, ASKED),
    "conversational, implicit": (WHOLE, ASKED),
    "prompt as text, sides whole": (WHOLE | {"prompt": ASKED}, ASKED),
    "prompt as text, sides as messages": (TALK | {"prompt": ASKED}, ASKED),
    "prompt as messages, sides whole": (WHOLE | {"prompt": [user(ASKED)]}, ASKED),
    "answers alone": (TALK, None),
    "prompt as messages, sides as text": (PLAIN | {"prompt": [user(ASKED)]}, ASKED),
    "from and value": (
        {
            side: [{"from": "human", "value": ASKED}, {"from": "gpt", "value": text}]
            for side, text in PLAIN.items()
        },
        ASKED,
    ),
    "content in parts": (
        {
            side: [{"role": "assistant", "content": [{"type": "text", "text": text}]}]
            for side, text in PLAIN.items()
        },
        None,
    ),
    "a system message": (
        {
            side: [{"role": "system", "content": "Be kind."}, *turns]
            for side, turns in WHOLE.items()
        },
        ASKED,
    ),
    "two turns": (
        {side: [user("Hi"), assistant("Hello"), *turns] for side, turns in WHOLE.items()},
        f"Hi\n\nHello\n\n{ASKED}",
    ),
}


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("name", FORMATS)
def test_formats_of_preferences(name, kind, tmp_path):
    """Chat messages were called no text, in lists, or read with their braces, as JSON."""
    row, prompt = FORMATS[name]
    pairs = Pairs.read(written(tmp_path, [row, row], f"pairs.{kind}"))
    assert pairs.chosen == ["It is blue."] * 2
    assert pairs.rejected == ["It is green."] * 2
    assert pairs.prompt == (None if prompt is None else [prompt] * 2)
    assert pairs.margin.tolist() == [1, 1]


def test_a_message_that_is_in_no_list(tmp_path):
    row = {side: turns[0] for side, turns in TALK.items()} | {"prompt": ASKED}
    for name in ("pairs.parquet", "pairs.jsonl"):
        assert Pairs.read(written(tmp_path, [row], name)).chosen == ["It is blue."]


@pytest.mark.parametrize("name", ["conversational, implicit", "prompt as text, sides whole"])
def test_prompts_are_those_of_trl(name):
    data_utils = pytest.importorskip("trl.data_utils")
    row, prompt = FORMATS[name]
    parted = data_utils.maybe_extract_prompt(row)
    assert [m["content"] for m in parted["prompt"]] == [prompt]
    assert [m["content"] for m in parted["chosen"]] == ["It is blue."]


def test_sides_of_one_beginning_keep_a_message_each(tmp_path):
    """As `trl.extract_prompt`: equal conversations, and one that goes on where the other ends."""
    data_utils = pytest.importorskip("trl.data_utils")
    long = {**WHOLE, "rejected": [*WHOLE["chosen"], user("And at night?"), assistant("Black.")]}
    for row in (WHOLE | {"rejected": WHOLE["chosen"]}, long):
        pairs = Pairs.read(written(tmp_path, [row]))
        parted = data_utils.extract_prompt(row)
        assert pairs.prompt == ["\n\n".join(m["content"] for m in parted["prompt"])]
        assert pairs.rejected == ["\n\n".join(m["content"] for m in parted["rejected"])]


def test_scores_of_both_sides_are_a_margin(tmp_path):
    rows = [
        WHOLE | {"prompt": ASKED, "score_chosen": score, "score_rejected": 5.5}
        for score in (8.0, 5.5)
    ]
    pairs = Pairs.read(written(tmp_path, rows))
    assert pairs.margin.tolist() == [2.5, 0.0]
    assert "margins are score_chosen less score_rejected" in pairs.notes
    assert "score_chosen less score_rejected" in repr(pairs)
    with pytest.raises(InputError, match="1 pairs is negative .*xchange the sides"):
        Pairs.read(written(tmp_path, [*rows, rows[0] | {"score_chosen": 2.0}]))


REFUSED = {
    "unpaired": ({"prompt": ASKED, "completion": "It is blue.", "label": True}, "--outcome label"),
    "only messages": ({"messages": WHOLE["chosen"]}, "Pairs need a column 'chosen'"),
    "one side missing": ({"chosen": "It is blue."}, "Pairs need a column 'rejected'"),
    "sides of two kinds": (PLAIN | {"rejected": WHOLE["rejected"]}, "plain texts; make them alike"),
    "two prompts": (
        WHOLE | {"rejected": [user("How are you?"), assistant("Fine.")]},
        "pair 0 answer different prompts",
    ),
    "Python's notation": (
        {side: str(turns) for side, turns in WHOLE.items()},
        "no JSON .Python's own",
    ),
    "an image": (
        {side: [{"role": "user", "content": [{"type": "image"}]}] for side in PLAIN},
        "only texts can be read|different prompts",
    ),
    "a part without its text": (
        {side: [{"role": "assistant", "content": [{"type": "text"}]}] for side in PLAIN},
        "only texts can be read",
    ),
    "a number as message": (
        {side: [{"role": "assistant", "content": 5}] for side in PLAIN},
        "only texts can be read",
    ),
    "a call of a tool": (
        WHOLE | {"chosen": [user(ASKED), {"role": "assistant", "content": None}]},
        "'chosen' holds no text in row 0",
    ),
    "a list of words": ({"chosen": ["blue"], "rejected": ["green"]}, "a text is needed, or chat"),
    "no messages": (TALK | {"chosen": []}, "a text is needed, or chat"),
    "an empty text": (PLAIN | {"chosen": "  "}, "'chosen' holds no text in row 0"),
    "a negative margin": (PLAIN | {"margin": -0.5}, "negative .*xchange the sides"),
    "a margin that is NaN": (PLAIN | {"margin": float("nan")}, "'margin' holds no value in"),
    "an infinite margin": (PLAIN | {"margin": float("inf")}, "no finite numbers|holds no value"),
    "a word as margin": (PLAIN | {"margin": "much"}, "'margin' is not numeric"),
    "a negative weight": (PLAIN | {"weight": -1.0}, "weight of 1 pairs is negative"),
    "a weight that is NaN": (PLAIN | {"weight": float("nan")}, "'weight' holds no value in"),
    "no score": (
        PLAIN | {"score_chosen": 1.0, "score_rejected": float("nan")},
        "'score_rejected' holds no value in",
    ),
    "no group": (PLAIN | {"group": None}, "'group' holds no value in"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name, tmp_path):
    row, message = REFUSED[name]
    with pytest.raises((InputError, ColumnNotFound), match=message) as caught:
        Pairs.read(written(tmp_path, [row]))
    assert len(str(caught.value).splitlines()) == 1


def test_a_group_that_some_pairs_lack_is_no_group_of_theirs(tmp_path):
    """Pairs without a group were one cluster; a missing number was one as well."""
    for groups in (["a", "a", None, None], [1.0, 1.0, None, float("nan")]):
        rows = [PLAIN | {"group": g, "prompt": str(i)} for i, g in enumerate(groups)]
        with pytest.raises(InputError, match=r"'group' holds no value in row 2 \(2 in all"):
            Pairs.read(written(tmp_path, rows))


def test_numbers_written_as_text_are_numbers(tmp_path):
    rows = [PLAIN | {"margin": "0.5", "weight": "2", "prompt": "a"}]
    rows += [PLAIN | {"margin": "1e-1", "weight": "1", "prompt": "b"}]
    for name in ("pairs.parquet", "pairs.csv", "pairs.jsonl"):
        pairs = Pairs.read(written(tmp_path, rows, name))
        assert pairs.margin.tolist() == [0.5, 0.1]
        assert pairs.weight.tolist() == [2, 1]


def test_texts_that_begin_like_messages_in_some_rows_only(tmp_path):
    rows = [PLAIN, PLAIN | {"chosen": json.dumps([user("x")])}]
    with pytest.raises(InputError, match="chat messages in row 1 and plain text in row 0"):
        Pairs.read(written(tmp_path, rows))
    rows = [PLAIN | {"chosen": '["a", "b"]'}, PLAIN | {"chosen": '[{"name": "x"}]'}]
    assert Pairs.read(written(tmp_path, rows)).chosen == ['["a", "b"]', '[{"name": "x"}]']


def test_one_comparison_that_was_labelled_several_times_is_one_group(tmp_path):
    turned = {"chosen": PLAIN["rejected"], "rejected": PLAIN["chosen"]}
    other = PLAIN | {"chosen": "It is red."}
    pairs = Pairs.read(written(tmp_path, [PLAIN, other, PLAIN, turned]))
    assert pairs.group[0] == pairs.group[2] == pairs.group[3] != pairs.group[1]
    assert "1 pairs stand the other way round as well" in pairs.notes


def test_equal_sides_are_ties_and_said(tmp_path):
    """30 right answers and 30 pairs of equal texts: accuracy 3/4, a tie counts one half."""
    rows = [{"chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(30)]
    rows += [{"chosen": f"same {i}", "rejected": f"same {i}"} for i in range(30)]
    pairs = Pairs.read(written(tmp_path, rows))
    assert "30 pairs have two equal sides, which no reward can tell apart" in pairs.notes
    right = {"r": lambda texts, prompts: np.array([t.startswith("good") for t in texts], float)}
    (row,) = rank(right, pairs).table().to_pylist()
    assert row["accuracy"] == pytest.approx(0.75)


def test_a_file_without_rows_holds_no_pairs(tmp_path):
    (tmp_path / "pairs.csv").write_text("chosen,rejected\n")
    with pytest.raises(InputError, match="holds no pairs"):
        Pairs.read(tmp_path / "pairs.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margin": [-1.0, 1.0]}, "margin of 1 pairs is negative .*pair 0, -1"),
        ({"margin": [np.nan, 1.0]}, "margin of 1 pairs"),
        ({"weight": [1.0, np.inf]}, "weight of 1 pairs .*pair 1, inf"),
        ({"weight": [1.0]}, "2 chosen texts, but 1 of 'weight'"),
        ({"rejected": ["c"]}, "2 chosen texts, but 1 of 'rejected'"),
        ({"rejected": ["c", ""]}, "rejected text of pair 1 is ''"),
        ({"chosen": ["c", None]}, "chosen text of pair 1 is None"),
        ({"group": [0, -1]}, "has no group"),
        ({"group": [0, 0.5]}, "must be integers"),
        ({"group": ["a", "b"]}, "must be integers"),
        ({"group": [0, np.nan]}, "must be integers"),
    ],
)
def test_pairs_made_in_python_are_checked_alike(change, message):
    given = {"chosen": ["a", "b"], "rejected": ["c", "d"], "margin": [1, 2], "weight": [1, 0]}
    assert Pairs(**given, group=[0, 1]).margin.dtype == float
    with pytest.raises(InputError, match=message):
        Pairs(**given | {"group": [0, 1]} | change)


def test_rankings_refuse_negative_margins():
    """AUC said 0.9 of a reward, and Kendall's tau -0.8."""
    gap = np.abs(np.random.default_rng(0).normal(size=50))
    assert rank_arrays({"r": gap}, np.arange(50), gap).tau_of("r").estimate == pytest.approx(1)
    for margins in (-gap, np.where(gap > 1, np.nan, gap)):
        with pytest.raises(InputError, match="margin is negative"):
            rank_arrays({"r": gap}, np.arange(50), margins)


def test_fits_refuse_negative_margins():
    """Asked to win by -1, the chosen side taught a reward nothing."""
    random = np.random.default_rng(0)
    X, Z = random.normal(size=(400, 4)) + 1, random.normal(size=(400, 4))
    won = Pairwise().fit_arrays(X, Z, margins=np.ones(400)).head.coefficients
    assert (won > 0.5).all()
    with pytest.raises(InputError, match="margin is negative"):
        Pairwise().fit_arrays(X, Z, margins=-np.ones(400))
    with pytest.raises(InputError, match="margin is negative"):
        Examples.of_pairs(np.vstack([X, Z]), [0, 1], [400, 401], margins=[1.0, -1.0])


@pytest.mark.parametrize("pairs", [5, 8, 20, 40])
@pytest.mark.parametrize("features", [2, 20, 384])
def test_few_separable_pairs_have_a_reward_of_a_sane_size(pairs, features):
    """The fit did not converge, or gave 30 log-odds from five pairs."""
    random = np.random.default_rng(1)
    b = np.ones(features) / np.sqrt(features)
    X, Z = random.normal(size=(2, pairs, features))
    first = ((X - Z) @ b > 0)[:, None]
    won, lost = np.where(first, X, Z), np.where(first, Z, X)
    fit = Pairwise().fit_arrays(won, lost)
    differences = (won - lost) @ fit.head.coefficients
    # So many pairs cannot show that all of them were certain.
    claimed = np.logaddexp(0, -differences).sum()
    assert claimed >= 0.999 * pairs * np.log((pairs + 1) / (pairs + 0.5))
    codes = {finding.code: finding.verdict.value for finding in fit.findings}
    assert pairs >= 30 or codes["RM111"] == "warn"
