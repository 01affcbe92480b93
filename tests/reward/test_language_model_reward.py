"""A language model tuned into a reward: gradient, learning, a kill, saving, what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from causalign.errors import ArtifactError, InputError, RoleNotDeclared, SettingsError
from causalign.lm import load_encoder
from causalign.lm.language_model import LanguageModel, Lora, add_lora, load_language_model
from causalign.lm.training import Training
from causalign.logs import Logs, Roles
from causalign.results import Verdict
from causalign.reward import (
    Examples,
    LanguageModelReward,
    Pairwise,
    RewardModel,
    Ridge,
    score_logs,
    trl_reward_function,
)

torch = pytest.importorskip("torch")

from causalign.lm import trainer  # noqa: E402  (needs torch)
from causalign.lm.adapted_encoder import AdaptedEncoder  # noqa: E402
from causalign.lm.score_head import ScoreHead, add_score_head, text_scores  # noqa: E402
from causalign.reward.language_model_task import ScoreTask  # noqa: E402

WORDS = ["rain", "sun", "mugs", "free"]
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def planted(size, seed=0):
    """Texts of three words; one kind of first word pays with one kind of second, or neither."""
    random = np.random.default_rng(seed)
    drawn = random.choice(WORDS, (size, 3))
    kinds = np.isin(drawn[:, 0], ["free", "sun"]), np.isin(drawn[:, 1], ["mugs", "rain"])
    truth = (kinds[0] != kinds[1]).astype(float)
    return [" ".join(words) for words in drawn], truth, truth + random.normal(scale=0.2, size=size)


def saved(fit):
    return RewardModel.load(fit.folder / "model")


def method(folder, **changes):
    training = Training(steps=4, batch_size=8, learning_rate=1e-3, max_length=48, save_every=2)
    return LanguageModelReward(**({"model": str(folder), "training": training} | changes))


def task_of(loaded, *, pairs, dtype):
    """A task whose adapter and head are not where they started."""
    loaded = add_lora(loaded, Lora(rank=2, dropout=0.0), seed=0)
    loaded.model.to(dtype)
    torch.manual_seed(0)
    for name, parameter in loaded.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    random = np.random.default_rng(0)
    texts, _, y = planted(12)
    width = loaded.model.get_output_embeddings().in_features
    head = ScoreHead(random.normal(size=width) / 9, 0.2, random.normal(size=width), 0.1)
    add_score_head(loaded, head.to(dtype))
    weights = np.array([1.0, 2.0, 0.5, 1.5, 1.0, 3.0])
    examples = Examples.of_outcomes(np.arange(12)[:, None], y, weights=np.tile(weights, 2))
    if pairs:
        sides = np.arange(6), np.arange(6, 12)
        examples = Examples.of_pairs(
            np.arange(12)[:, None], *sides, weights=weights, margins=np.arange(6) / 9
        )
    rows, target = np.arange(len(examples)), (0.0, 1.0) if pairs else (0.4, 0.7)
    encoder = AdaptedEncoder(loaded, 48)
    return loaded.model, ScoreTask(encoder, head, texts, examples, rows, rows, target, rows)


def exact_model(tiny_lm_folder):
    """A random GPT-2, which keeps to double precision; Llama's norm goes through single."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=512, n_positions=64, n_embd=16, n_layer=1, n_head=2, attn_implementation="eager"
    )
    tokenizer = load_language_model(tiny_lm_folder).tokenizer
    return LanguageModel("gpt2", "1", GPT2LMHeadModel(config).eval(), tokenizer)


@pytest.mark.parametrize("pairs", [False, True])
def test_gradient_is_that_of_finite_differences(tiny_lm_folder, pairs):
    model, task = task_of(exact_model(tiny_lm_folder), pairs=pairs, dtype=torch.float64)
    batch = task.batch(np.arange(5), 0)
    batch = {n: v.double() if v.is_floating_point() else v for n, v in batch.items()}
    task.loss(model, batch)[0].backward()
    random = np.random.default_rng(1)
    tuned = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert {n.split(".")[-1 if "head" in n else -3] for n in tuned} == {
        "weight", "bias", "lora_A", "lora_B"
    }  # fmt: skip
    for name, parameter in tuned.items():
        for place in (tuple(random.integers(parameter.shape)) for _ in range(4)):
            losses = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    parameter[place] += step
                    losses.append(task.loss(model, batch)[0].item())
                    parameter[place] -= step
            expected = (losses[0] - losses[1]) / 2e-6
            assert parameter.grad[place].item() == pytest.approx(expected, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("pairs", [False, True])
def test_the_loss_by_hand_and_the_scores_as_they_are_saved(tiny_lm_folder, pairs):
    """Padded batches in training and texts alone in scoring give one number; weights mean one."""
    loaded = load_language_model(tiny_lm_folder)
    model, task = task_of(loaded, pairs=pairs, dtype=torch.float32)
    model.eval()
    task.texts[0] = task.texts[0] + " and many more words so that others are padded"
    vectors = task.encoder.encode(task.texts)
    scores = task.linear_head(standard=True)(vectors)
    examples = task.examples
    w = examples.weight / examples.weight.mean()
    if pairs:
        first, second = scores[examples.sides].T
        expected = np.mean(w * np.logaddexp(0, -(first - second - examples.margin)))
    else:
        expected = np.mean(w * (scores - (examples.target - 0.4) / 0.7) ** 2)
    batch = task.batch(np.arange(len(examples)), 0)
    assert task.loss(model, batch)[0].item() == pytest.approx(expected, rel=1e-4)
    sides = examples.sides.ravel()
    assert text_scores(model, batch).detach().numpy() == pytest.approx(scores[sides], abs=1e-4)
    assert np.average(task.validation_losses(), weights=examples.weight) == pytest.approx(
        expected, rel=1e-4
    )


@pytest.fixture(scope="module")
def learned(tiny_lm_folder, tmp_path_factory):
    """The reward of a random network, on words whose effects no line through its states shows."""
    texts, _, y = planted(240)
    tuned = LanguageModelReward(
        model=str(tiny_lm_folder),
        lora=Lora(rank=8, dropout=0.0, targets=ALL),
        training=Training(
            steps=120, batch_size=16, learning_rate=3e-3, max_length=48, save_every=20
        ),
    )
    folder = tmp_path_factory.mktemp("learned")
    return tuned.fit_texts(texts, y, folder / "fit", groups=texts)


def correlation(model, texts, truth):
    return np.corrcoef(model(texts), truth)[0, 1]


def test_tuning_finds_what_frozen_vectors_do_not_show(tiny_lm_folder, learned):
    texts, _, y = planted(240)
    fresh, truth, _ = planted(200, seed=9)
    encoder = load_encoder(f"{tiny_lm_folder}:last")
    frozen = Ridge().fit_arrays(encoder.encode(texts), y, groups=texts)
    before = correlation(RewardModel(encoder.name, frozen.head, encoder=encoder), fresh, truth)
    after = correlation(saved(learned), fresh, truth)
    assert before < 0.2 < 0.8 < after, (before, after)
    assert learned.numbers["validation_r2"] > learned.numbers["untouched_r2"] + 0.05
    (finding,) = (f for f in learned.findings if f.code == "RM107")
    assert finding.verdict is Verdict.PASS


def test_a_saved_reward_scores_the_same_everywhere(learned, tiny_lm_folder, tmp_path):
    texts = planted(20, seed=3)[0]
    model = saved(learned)
    scores = model(texts)
    again = RewardModel.load(model.save(tmp_path / "again"))
    assert (again(texts) == scores).all()
    assert again.encoder.revision == model.encoder.revision
    assert model.units == "units of the outcome"
    reward = trl_reward_function(model)
    assert reward(prompts=["ignored"] * 20, completions=texts) == scores.tolist()
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": texts}), tmp_path / "log.parquet")
    score_logs(tmp_path / "again", tmp_path / "log.parquet", tmp_path / "s", completion="text")
    assert pq.read_table(tmp_path / "s")["reward"].to_pylist() == scores.tolist()


def test_plain_peft_loads_the_adapter(learned, tiny_lm_folder):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = saved(learned)
    (folder,) = (learned.folder / "model").glob("encoder-*")
    base = AutoModelForCausalLM.from_pretrained(tiny_lm_folder)
    network = PeftModel.from_pretrained(base, str(folder)).eval()
    ids = AutoTokenizer.from_pretrained(tiny_lm_folder)("free mugs", return_tensors="pt").input_ids
    with torch.no_grad():
        state = network(ids, output_hidden_states=True).hidden_states[-1][0, -1]
    unit = (state / state.norm()).numpy()
    assert model.head(unit[None]) == pytest.approx(model(["free mugs"]), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("adapter_model.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1]), "SHA-256"),
        ("adapter_config.json", lambda b: b.replace(b'"r": 8', b'"r": 9'), "SHA-256"),
        ("causalign.json", lambda b: b.replace(b'"version": 1', b'"version": 2'), "version 2"),
        ("causalign.json", lambda b: b[:40], "cannot be read"),
        ("causalign.json", lambda b: b.replace(b'"max_tokens"', b'"tokens"'), "cannot be read"),
        ("adapter_model.safetensors", None, "SHA-256"),
    ],
)
def test_altered_files_are_refused(learned, tmp_path, name, damage, message):
    folder = saved(learned).save(tmp_path / "model")
    (path,) = folder.glob(f"encoder-*/{name}")
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtifactError, match=message):
        RewardModel.load(folder)


def test_another_base_model_is_refused(learned, tmp_path, tiny_lm_folder):
    import shutil

    other = shutil.copytree(tiny_lm_folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    folder = saved(learned).save(tmp_path / "model")
    (path,) = folder.glob("encoder-*/causalign.json")
    path.write_text(path.read_text().replace(str(tiny_lm_folder), str(other)))
    with pytest.raises(ArtifactError, match="another base model"):
        RewardModel.load(folder)


def test_a_full_disk_while_saving_leaves_the_old_model(learned, tmp_path, monkeypatch):
    from causalign.lm import adapted_encoder

    texts = planted(5)[0]
    model = saved(learned)
    RewardModel("hashing", Ridge().fit_arrays(np.eye(9, 2048), np.arange(9.0)).head).save(tmp_path)
    before = RewardModel.load(tmp_path)(texts)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adapted_encoder, "write_adapter", full)
    with pytest.raises(ArtifactError, match="No space left"):
        model.save(tmp_path)
    assert (RewardModel.load(tmp_path)(texts) == before).all()
    assert not list(tmp_path.glob(".encoder-*"))


class Killed(BaseException):
    """Stand for a signal: nothing catches it on the way."""


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "step"), [("squared-error", 1), ("bradley-terry", 5)])
def test_a_fit_that_died_ends_like_one_that_did_not(
    tiny_lm_folder, tmp_path, monkeypatch, loss, step
):
    """Dropout, order, optimiser, head and the best step so far survive."""
    training = Training(steps=8, batch_size=8, learning_rate=3e-3, max_length=48, save_every=2)
    tuned = method(tiny_lm_folder, loss=loss, training=training, lora=Lora(dropout=0.2))
    texts, _, y = planted(60)

    def fit(name):
        if loss == "squared-error":
            return tuned.fit_texts(texts, y, tmp_path / name)
        return tuned.fit_pairs(texts[:30], texts[30:], tmp_path / name)

    whole = fit("whole")
    true = trainer.ObjectiveTrainer.training_step

    def dying(self, *arguments, **more):
        if self.state.global_step == step:
            raise Killed
        return true(self, *arguments, **more)

    monkeypatch.setattr(trainer.ObjectiveTrainer, "training_step", dying)
    with pytest.raises(Killed):
        fit("died")
    monkeypatch.setattr(trainer.ObjectiveTrainer, "training_step", true)
    resumed = fit("died")
    assert resumed.table().equals(whole.table())
    assert saved(resumed).encoder.revision == saved(whole).encoder.revision
    assert (saved(resumed)(texts) == saved(whole)(texts)).all()
    assert not (tmp_path / "died" / "training").exists()
    monkeypatch.setattr(trainer.ObjectiveTrainer, "training_step", dying)
    assert fit("died").table().equals(whole.table()), "a finished fit is read, not repeated"


@pytest.mark.slow
def test_a_fit_that_died_after_its_last_step_only_saves(tiny_lm_folder, tmp_path, monkeypatch):
    texts, _, y = planted(60)
    whole = method(tiny_lm_folder).fit_texts(texts, y, tmp_path / "whole")

    def dying(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(RewardModel, "save", dying)
        with pytest.raises(Killed):
            method(tiny_lm_folder).fit_texts(texts, y, tmp_path / "died")
    monkeypatch.setattr(trainer.ObjectiveTrainer, "training_step", dying)
    resumed = method(tiny_lm_folder).fit_texts(texts, y, tmp_path / "died")
    assert resumed.table().equals(whole.table())
    assert (saved(resumed)(texts) == saved(whole)(texts)).all()


def test_the_step_that_validates_best_is_kept(tiny_lm_folder, tmp_path):
    """A learning rate that ruins the reward: step 0, the frozen reward, is kept and told."""
    texts, _, y = planted(60)
    ruined = method(tiny_lm_folder)
    ruined = replace(ruined, training=replace(ruined.training, learning_rate=3.0))
    fit = ruined.fit_texts(texts, y, tmp_path / "fit", prompts=["say"] * 60)
    assert fit.numbers["kept_step"] == 0
    assert fit.table()["kept"].to_pylist() == [True, False, False]
    assert fit.table()["loss"][0].as_py() < min(fit.table()["loss"].to_pylist()[1:])
    assert fit.numbers["validation_r2"] == fit.numbers["untouched_r2"]
    (finding,) = (f for f in fit.findings if f.code == "RM107")
    assert finding.verdict is Verdict.WARN
    model = saved(fit)
    assert model.reads_prompt
    vectors = load_encoder(f"{tiny_lm_folder}:last").encode([f"say\n\n{t}" for t in texts])
    assert model(texts, ["say"] * 60) == pytest.approx(model.head(vectors), abs=1e-5)


def test_pairs_win_by_weights_and_margins_and_identical_sides_are_counted(tiny_lm_folder, tmp_path):
    chosen, rejected = ["free mugs"] * 12, ["rain today", *["rain mail"] * 10, "free mugs"]
    tuned = method(tiny_lm_folder, loss="bradley-terry")
    tuned = replace(tuned, training=replace(tuned.training, learning_rate=1e-6, steps=1))
    wide, narrow = (
        tuned.fit_pairs(chosen, rejected, tmp_path / f"{m}", margins=np.full(12, m))
        for m in (4.0, 0.0)
    )
    (finding,) = (f for f in wide.findings if f.code == "RM104")
    assert finding.numbers["dropped"] == 1
    assert wide.units == "log-odds"

    def won(fit):
        model = saved(fit)
        return model(chosen[:1]) - model(rejected[1:2])

    assert won(wide) > won(narrow) > 0


def test_long_texts_are_cut_and_counted(tiny_lm_folder, tmp_path):
    texts, _, y = planted(40)
    texts[0] = "rain " * 100
    fit = method(tiny_lm_folder).fit_texts(texts, y, tmp_path / "fit")
    (finding,) = (f for f in fit.findings if f.code == "RM102")
    assert (finding.verdict, finding.numbers["truncated"]) == (Verdict.WARN, 1.0)
    model = saved(fit)
    scores = model(["rain " * 100, "rain " * 200])
    assert scores[0] == pytest.approx(scores[1])
    assert model.score(["rain " * 100])[1] == 1


TEXTS, _, Y = planted(40)
BAD = {
    "an empty text": (lambda m, o: m.fit_texts(["", *TEXTS[1:]], Y, o), "text in row 0"),
    "no text": (lambda m, o: m.fit_texts([None, *TEXTS[1:]], Y, o), "text in row 0"),
    "numbers missing": (lambda m, o: m.fit_texts(TEXTS, np.full(40, np.nan), o), "not finite"),
    "too few numbers": (lambda m, o: m.fit_texts(TEXTS, Y[1:], o), "outcome must have shape"),
    "one outcome": (lambda m, o: m.fit_texts(TEXTS, np.ones(40), o), "nothing to learn"),
    "weights below zero": (
        lambda m, o: m.fit_texts(TEXTS, Y, o, weights=-Y - 9),
        "Weights must not",
    ),
    "an empty side": (lambda m, o: m.fit_pairs(TEXTS, ["", *TEXTS[1:]], o), "side of a pair"),
    "no pairs": (lambda m, o: m.fit_pairs([], [], o), "neither zero"),
    "identical sides": (lambda m, o: m.fit_pairs(TEXTS, TEXTS, o), "two different sides"),
    "sides of two lengths": (lambda m, o: m.fit_pairs(TEXTS, TEXTS[1:], o), "40 chosen for 39"),
    "prompts missing": (lambda m, o: m.fit_texts(TEXTS, Y, o, prompts=["a"]), "1 prompts for 40"),
    "one group": (lambda m, o: m.fit_texts(TEXTS, Y, o, groups=np.zeros(40)), "groups"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(tiny_lm_folder, tmp_path, case):
    make, message = BAD[case]
    loss = "bradley-terry" if case in ("an empty side", "no pairs", "identical sides") else None
    loss = loss or ("bradley-terry" if case.startswith("sides") else "squared-error")
    with pytest.raises(InputError, match=message):
        make(method(tiny_lm_folder, loss=loss), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_and_foreign_folders_are_refused(tiny_lm_folder, tmp_path):
    with pytest.raises(SettingsError, match="did you mean 'squared-error'"):
        LanguageModelReward(loss="square-error")
    with pytest.raises(SettingsError, match="validation_share"):
        LanguageModelReward(validation_share=0.0)
    with pytest.raises(InputError, match="does not fit outcomes"):
        method(tiny_lm_folder, loss="bradley-terry").fit_texts(TEXTS, Y, tmp_path / "a")
    with pytest.raises(InputError, match="does not fit pairs"):
        method(tiny_lm_folder).fit_pairs(TEXTS[:20], TEXTS[20:], tmp_path / "a")
    method(tiny_lm_folder).fit_texts(TEXTS, Y, tmp_path / "b")
    with pytest.raises(ArtifactError, match="other settings or data"):
        method(tiny_lm_folder).fit_texts(TEXTS, Y + 1, tmp_path / "b")
    (tmp_path / "b" / "fit.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged"):
        method(tiny_lm_folder).fit_texts(TEXTS, Y, tmp_path / "b")


def test_training_that_diverges_says_so(tiny_lm_folder, tmp_path):
    wild = method(tiny_lm_folder)
    training = replace(wild.training, learning_rate=1e30, max_gradient_norm=1e30, save_every=100)
    with pytest.raises(SettingsError, match="smaller learning rate"):
        replace(wild, training=training).fit_texts(TEXTS, Y, tmp_path / "out")


def test_the_start_is_the_linear_reward_on_frozen_vectors(tiny_lm_folder, tmp_path):
    """Pairs: the validation loss at step 0 is what Pairwise gives on the same rows."""
    chosen, rejected = TEXTS[:20], TEXTS[20:]
    tuned = method(tiny_lm_folder, loss="bradley-terry")
    tuned = replace(tuned, training=replace(tuned.training, steps=1, learning_rate=1e-12))
    model = saved(tuned.fit_pairs(chosen, rejected, tmp_path / "fit"))
    encoder = load_encoder(f"{tiny_lm_folder}:last")
    from causalign.stats.folds import group_folds

    examples = Examples.of_pairs(encoder.encode(TEXTS), np.arange(20), np.arange(20, 40))
    kept = np.flatnonzero(examples.weight > 0)
    train = kept[group_folds(kept, 5, 0) != 0]
    V = encoder.encode(TEXTS).astype(np.float64)
    expected = Pairwise().fit_arrays(V[:20][train], V[20:][train])
    assert model.head.coefficients == pytest.approx(expected.head.coefficients, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("loss", ["squared-error", "bradley-terry"])
def test_logs_give_what_texts_give(loss, tiny_lm_folder, tmp_path):
    texts, _, y = planted(40)
    group, weight = np.arange(40) // 4, np.random.default_rng(1).uniform(0.5, 2, 40)
    columns = {"text": texts, "y": y, "test": group, "asked": ["say"] * 40, "weight": weight}
    roles = Roles("text", "y", prompt="asked", group="test", weight="weight")
    logs = Logs.of(pa.table(columns), roles)
    tuned = method(tiny_lm_folder, loss=loss)
    fit = tuned.fit(logs, out=tmp_path / "logs")
    if loss == "squared-error":
        given = {"prompts": ["say"] * 40, "groups": group, "weights": weight}
        by_hand = tuned.fit_texts(texts, y, tmp_path / "hand", **given)
    else:
        pairs = logs.pairs()
        given = {"prompts": pairs.prompt, "groups": pairs.group, "weights": pairs.weight}
        by_hand = tuned.fit_pairs(pairs.chosen, pairs.rejected, tmp_path / "hand", **given)
    expected = saved(by_hand)(texts[:5], ["say"] * 5)
    assert (fit.predict(texts[:5], ["say"] * 5) == expected).all()
    assert fit.estimate.numbers == by_hand.numbers
    assert fit.units == by_hand.units
    fit.save(tmp_path / "kept")
    assert RewardModel.load(tmp_path / "kept" / "model").method == tuned
    assert len(repr(fit).splitlines()) <= 12


def test_logs_need_a_folder_and_no_encoder(tiny_lm_folder):
    texts, _, y = planted(8)
    logs = Logs.of(pa.table({"text": texts, "y": y}), Roles("text", "y"))
    with pytest.raises(SettingsError, match="takes no encoder"):
        method(tiny_lm_folder).fit(logs, "minilm", out="somewhere")
    with pytest.raises(SettingsError, match="folder for checkpoints"):
        method(tiny_lm_folder).fit(logs)
    with pytest.raises(RoleNotDeclared):
        method(tiny_lm_folder, loss="bradley-terry").fit(logs, out="somewhere")
