"""Best of n on the 64 texts of the log: its law as a finite sum, refusals, and what it is worth."""

import numpy as np
import pyarrow as pa
import pytest

from causalign.errors import InputError, SettingsError
from causalign.logs import Logs, Roles
from causalign.policy import BestOf
from causalign.reward import LinearHead, Perceptron, RewardModel, Ridge
from causalign.stats.best_of import best_of_law, divergence, divergence_bound

WORDS = ["yes", "no", "good", "bad"]
SENTENCES = [" ".join((a, b, c)) for a in WORDS for b in WORDS for c in WORDS]


class CountsYes:
    """Two numbers for each text: how often it says yes, and how often good."""

    name, revision, dimension = "counts yes", "1", 2

    def encode(self, texts):
        counts = [[text.count("yes"), text.count("good")] for text in texts]
        return np.array(counts, dtype=np.float32).reshape(-1, 2)


def sentences_log(copies=3, noise=0.3, seed=0):
    random = np.random.default_rng(seed)
    texts = SENTENCES * copies
    y = [text.count("yes") - 0.5 * text.count("good") + noise * random.normal() for text in texts]
    return Logs.of(pa.table({"text": texts, "y": y}), Roles("text", "y"))


LOG = sentences_log()


@pytest.fixture(scope="module")
def reward():
    return Ridge().fit(LOG, CountsYes()).model


def offers(prompts, n, seed=1):
    """Return draws of a writer over the 64 sentences, and its probabilities."""
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.ones(64))
    drawn = random.choice(64, size=(prompts, n), p=p)
    return [[SENTENCES[i] for i in row] for row in drawn], p


@pytest.mark.parametrize("caution", [0.0, 2.0])
@pytest.mark.parametrize("n", [1, 4])
def test_chosen_texts_follow_the_law_that_counting_gives(reward, caution, n):
    drawn, p = offers(8000, n)
    best = BestOf(n=n, caution=caution).choose(drawn, reward, [None] * 8000)
    said = reward.assess(SENTENCES)
    # Many sentences have equal counts, and so tie.
    score = np.round(said.reward - caution * said.standard_error, 12)
    score[~said.in_support] = -np.inf
    law = best_of_law(p, score, n)
    place = {text: i for i, text in enumerate(SENTENCES)}
    counts = np.bincount([place[t] for t in best.texts() if t is not None], minlength=64)
    error = np.sqrt(law * (1 - law) / 8000) + 1e-9
    assert (np.abs(counts / 8000 - law) < 4.5 * error + 1e-9).all()
    assert divergence(law / law.sum(), p) <= divergence_bound(n) - np.log(law.sum()) + 1e-12
    value = (law * said.reward).sum() / law.sum()
    mean = np.mean(said.reward[[place[t] for t in best.texts() if t is not None]])
    assert mean == pytest.approx(value, abs=0.05)


def test_every_refusal_has_its_reason(reward):
    strange = "yes " * 40
    raw = ["  yes yes no ", "yes yes no", "", "<!DOCTYPE html><p>502</p>", strange, "good bad bad"]
    best = BestOf(n=6, caution=0).choose([raw, [strange]], reward, [None, None], logs=LOG)
    first = best.candidates.filter(pa.compute.equal(best.candidates["number"], 0)).to_pylist()
    assert [row["verdict"].split(":")[0] for row in first] == ["chosen", *["refused"] * 4, "kept"]
    assert [row["verdict"] for row in first][1:4] == [
        "refused: the same as candidate 1",
        "refused: empty",
        "refused: an error page",
    ]
    assert first[4]["verdict"].startswith("refused: outside the support: leverage")
    assert first[4]["nearest logged text"] == "yes yes yes"
    assert first[2]["reward"] is None
    assert best.texts() == ["yes yes no", None]
    last = best.table().to_pylist()[1]
    assert last["text"] is None
    assert last["nearest logged text"] == "yes yes yes"
    assert best.refused == {
        "an error page": 1, "empty": 1, "outside the support": 2, "the same as another": 1
    }  # fmt: skip
    codes = {finding.code: finding.verdict for finding in best.findings}
    assert codes["WR101"] == "warn"
    assert "1 of 2 prompts get no text" in best.findings[0].explanation


def test_all_outside_gives_no_text_and_fails(reward):
    best = BestOf().choose([["yes " * 40]], reward, [None])
    assert best.texts() == [None]
    assert best.findings[0].verdict == "fail"
    assert "no candidate may be chosen" in best.answer()
    assert best.section().tables["chosen texts"]["text"].to_pylist() == [None]


def test_one_candidate_is_sent_as_it_is_and_says_so(reward):
    best = BestOf(n=1).choose([["yes no no"], ["bad bad no"]], reward, [None, None], logs=LOG)
    assert best.texts() == ["yes no no", "bad bad no"]
    assert "nothing was chosen" in best.answer()
    assert {f.code: f.verdict for f in best.findings}["WR102"] == "warn"
    assert best.section().numbers["largest divergence from the writer"] == 0


def test_caution_prefers_what_the_log_knows():
    # "good" is rare in the log, and its effect is uncertain.
    texts = [t for t in SENTENCES if "good" not in t] * 3 + ["good no no", "good no bad"]
    random = np.random.default_rng(3)
    y = [t.count("yes") + 1.2 * t.count("good") + 2 * random.normal() for t in texts]
    logs = Logs.of(pa.table({"text": texts, "y": y}), Roles("text", "y"))
    model = Ridge(penalties=[1.0]).fit(logs, CountsYes()).model
    head = LinearHead(np.array([1.0, 1.2]), 0.0, model.head.factor, model.head.support)
    model = RewardModel("counts yes", head, encoder=CountsYes())
    drawn = [["yes no no", "good no no"]]
    assert BestOf(n=2, caution=0).choose(drawn, model, [None]).texts() == ["good no no"]
    assert BestOf(n=2, caution=2).choose(drawn, model, [None]).texts() == ["yes no no"]


def test_the_worth_of_the_choice_is_told_with_an_interval(reward):
    drawn, _ = offers(60, 16)
    best = BestOf(n=16).choose(drawn, reward, [None] * 60, logs=LOG)
    chosen, gain = best.worth
    counts = [text.count("yes") - 0.5 * text.count("good") for text in best.texts()]
    assert chosen.lower < np.mean(counts) < chosen.upper
    assert 0 < gain.lower < gain.estimate < gain.upper
    assert gain.naive >= gain.estimate - 0.05
    assert {f.code: f.verdict for f in best.findings}["WR104"] == "pass"
    row = best.section().tables["what the choice is worth"].to_pylist()[1]
    assert row["by the part that did not choose"] == gain.estimate
    unknown = BestOf(n=16).choose(drawn, reward, [None] * 60)
    assert "no log was given" in unknown.answer()


def test_a_log_of_noise_promises_nothing():
    noise = Logs.of(
        pa.table({"text": SENTENCES * 3, "y": np.random.default_rng(5).normal(size=192)}),
        Roles("text", "y"),
    )
    model = Ridge(penalties=[0.1]).fit(noise, CountsYes()).model
    drawn, _ = offers(60, 16)
    gain = BestOf(n=16, caution=0).choose(drawn, model, [None] * 60, logs=noise).worth[1]
    assert gain.lower < 0 < gain.upper
    assert gain.naive > 0


def test_what_cannot_choose_says_so_before_a_writer_is_asked(reward):
    network = Perceptron().fit(LOG, CountsYes()).model
    with pytest.raises(SettingsError, match="Set caution to 0"):
        BestOf().check(network, [None])
    best = BestOf(n=2, caution=0).choose([["yes no no", "bad no"]], network, [None])
    verdicts = {f.code: f.verdict for f in best.findings}
    assert (verdicts["WR101"], verdicts["WR103"]) == ("warn", "warn")
    asked = RewardModel("counts yes", reward.head, encoder=CountsYes(), reads_prompt=True)
    with pytest.raises(InputError, match="reads prompts"):
        BestOf().check(asked, [None])
    with pytest.raises(InputError, match="offers for 1 of 2"):
        BestOf(n=1).choose([["a"]], reward, [None, None])
    for wrong in ({"n": 0}, {"caution": -1.0}, {"seed": -1}):
        with pytest.raises(SettingsError):
            BestOf(**wrong)


def test_a_reward_that_reads_prompts_chooses_for_each():
    texts = [t for t in SENTENCES for _ in range(2)]
    prompts = ["yes please", "no please"] * 64
    random = np.random.default_rng(0)
    y = [t.count("yes") + 0.1 * random.normal() for t in texts]
    logs = Logs.of(pa.table({"text": texts, "q": prompts, "y": y}), Roles("text", "y", prompt="q"))
    model = Ridge().fit(logs, CountsYes()).model
    drawn = [["yes no no", "good no no"], ["bad bad bad", "yes bad bad"], ["yes " * 50]]
    asked = ["yes please", "no please", "no please"]
    best = BestOf(n=2).choose(drawn, model, asked, logs=logs)
    assert best.texts() == ["yes no no", "yes bad bad", None]
    assert best.table()["prompt"].to_pylist() == asked
