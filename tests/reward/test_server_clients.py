"""Trainers and optimisers ask a served reward, by the examples of the page that shows them."""

import asyncio
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from causalign.reward import LinearHead, RewardModel
from tests.reward.serving import send, serving

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "serve-a-reward.md"


class CountsOfE:
    """Encode a text as how often it holds an e."""

    name, revision, dimension = "counts of e", "1", 1

    def encode(self, texts, progress=False):
        return np.array([[text.count("e")] for text in texts], dtype=np.float32)


def counting(**settings):
    return RewardModel("counts of e", LinearHead(np.ones(1)), encoder=CountsOfE(), **settings)


@pytest.fixture(scope="module")
def address():
    with serving(counting()) as place:
        yield place


def run_example(title, address, **names):
    """Run the Python below a heading of the page against a server; return what it defined."""
    below = PAGE.read_text("utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", below, flags=re.DOTALL)[1]
    assert "http://127.0.0.1:8017" in code
    exec(code.replace("http://127.0.0.1:8017", address), names)
    return names


def test_trl_trains_on_it(address, tiny_lm_folder, tmp_path):
    pytest.importorskip("trl")
    from datasets import Dataset
    from trl import GRPOConfig

    prompts = [{"prompt": [{"role": "user", "content": text}]} for text in ("Write: ", "Say: ")]
    settings = GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        use_cpu=True,
        report_to=[],
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
    )
    names = run_example(
        "TRL: GRPO, RLOO",
        address,
        policy=str(tiny_lm_folder),
        prompts=Dataset.from_list(prompts * 4),
        settings=settings,
    )
    told = [row for row in names["trainer"].state.log_history if "reward" in row]
    assert len(told) == 2
    assert all(row["rewards/causalign_reward/mean"] == row["reward"] >= 0 for row in told)


async def ask_as_openrlhf(urls, queries, prompts, labels):
    """Ask as ``SingleTurnAgentExecutor._fetch_rewards_via_http`` of OpenRLHF 0.10 does."""
    aiohttp = pytest.importorskip("aiohttp")
    size = (len(queries) + len(urls) - 1) // len(urls)

    async def post(url, body):
        timeout = aiohttp.ClientTimeout(total=180)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, json=body) as answer,
        ):
            answer.raise_for_status()
            return await answer.json()

    parts = [slice(i * size, (i + 1) * size) for i in range(len(urls))]
    bodies = [{"query": queries[p], "prompts": prompts[p], "labels": labels[p]} for p in parts]
    return await asyncio.gather(*map(post, urls, bodies))


def test_openrlhf_asks_it(address):
    asked = "<|im_start|>user\nWhere were we?<|im_end|>\n<|im_start|>assistant\n"
    queries = [f"{asked}Here.<|im_end|>", "<s>Be brief: we were there</s>"]
    prompts, labels = [asked, "Be brief: "], ["", None]
    url = f"{address}/get_reward"
    both = asyncio.run(ask_as_openrlhf([url], queries, prompts, labels))
    assert both == [{"rewards": [2.0, 5.0], "scores": [2.0, 5.0], "extra_logs": {}}]
    each = asyncio.run(ask_as_openrlhf([url, url], queries, prompts, labels))
    assert [answer["rewards"] for answer in each] == [[2.0], [5.0]]
    # Before it sent prompts, the query was all there was.
    assert send(address, "/get_reward", {"query": ["Here."]})[2]["rewards"] == [2.0]
    status, _, answer = send(
        address, "/get_reward", {"query": ["abc", "de"], "prompts": ["a", "x"]}
    )
    assert (status, answer) == (422, {"error": "query.1 does not hold its prompt."})
    assert send(address, "/get_reward", {"query": ["abc"], "prompts": []})[0] == 422
    assert send(address, "/get_reward", {"query": ["abc"], "prompts": [""]})[2]["rewards"] == [0.0]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("e<|im_end|>", "e"),
        ("e<|eot_id|>\n<|endoftext|><|endoftext|>", "e"),
        ("e</s><pad><pad>", "e"),
        ("e <end_of_turn>\n<eos>", "e"),
        ("e", "e"),
        ("<|im_end|> e", "<|im_end|> e"),
        ("e <b>", "e <b>"),
    ],
)
def test_marks_at_the_end_are_not_read(written, read):
    class Read(CountsOfE):
        def encode(self, texts, progress=False):
            self.texts = list(texts)
            return super().encode(texts)

    encoder = Read()
    model = RewardModel("counts of e", LinearHead(np.ones(1)), encoder=encoder)
    with serving(model) as place:
        send(place, "/get_reward", {"query": [f"a{written}"], "prompts": ["a"]})
    assert encoder.texts == [read]


def test_verl_asks_it():
    """As ``NaiveRewardManager`` and ``BatchRewardManager`` of its reward loop call a function."""
    with serving(counting(reads_prompt=True)) as place:
        names = run_example("verl", place)
        info = {"question": "Where?", "num_turns": None, "rollout_reward_scores": {}}
        score = names["compute_score"](
            data_source="mails", solution_str="Here.", ground_truth="", extra_info=info
        )
        scores = names["compute_scores"](
            data_sources=["mails"] * 2,
            solution_strs=["Here.", "There."],
            ground_truths=["", ""],
            extra_infos=[info, info],
        )
    assert score == 4.0
    assert scores == [4.0, 4.0]


def test_gepa_asks_it(address):
    pytest.importorskip("gepa")
    tasks = [{"input": f"topic {i}", "answer": "", "additional_context": {}} for i in range(3)]
    reflected = []

    def write(messages):
        return messages[0]["content"][::-1]

    def think(prompt):
        reflected.append(str(prompt))
        return f"```\n{'e' * (9 + len(reflected))}\n```"

    names = run_example("GEPA", address, tasks=tasks, writer=write, thinker=think)
    best = names["found"].best_candidate["instructions"]
    assert best.count("e") > "Write the newsletter.".count("e")
    assert "expected to stay 5.00 minutes" in reflected[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_dspy_asks_it(address):
    dspy = pytest.importorskip("dspy")
    from dspy.utils import DummyLM

    class Echo(DummyLM):
        """Write as many e as the instructions hold."""

        def forward(self, prompt=None, messages=None, **settings):
            told = messages[0]["content"].rpartition("objective is:")[2]
            self.answers = iter([{"mail": "e" * told.count("e")}])
            return super().forward(prompt=prompt, messages=messages, **settings)

    class Think(DummyLM):
        def forward(self, prompt=None, messages=None, **settings):
            self.told = [*getattr(self, "told", []), str(messages or prompt)]
            self.answers = iter([{"new_instruction": "```\n" + "e" * 50 + "\n```"}])
            return super().forward(prompt=prompt, messages=messages, **settings)

    tasks = [dspy.Example(topic=f"topic {i}").with_inputs("topic") for i in range(3)]
    thinker = Think([], adapter=dspy.JSONAdapter())
    with dspy.context(lm=Echo([])):
        names = run_example("DSPy", address, tasks=tasks, thinker=thinker)
    assert "Readers are expected to stay" in "".join(thinker.told)
    assert "eeeee" in names["better"].signature.instructions
