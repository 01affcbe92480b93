"""One log that every method can learn from, and the three doors to it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import causalign as ca
from causalign.cli import main
from causalign.logs.splits import draw_held_out

ROWS = 160


@pytest.fixture(scope="session")
def table() -> pa.Table:
    random = np.random.default_rng(0)
    words = ["mugs", "rain", "sun", "free", "today", "offer", "please", "now"]
    texts = [" ".join(random.choice(words, 4)) for _ in range(ROWS)]
    free = np.array([text.count("free") for text in texts], dtype=float)
    cost = random.normal(size=ROWS)
    price = cost + 0.5 * free + random.normal(scale=0.5, size=ROWS)
    return pa.table(
        {
            "text": texts,
            "y": free + price + random.normal(scale=0.3, size=ROWS),
            "bought": (free + random.normal(scale=0.5, size=ROWS) > 0.5).astype(float),
            "stars": np.minimum(free, 2),
            "price": price,
            "cost": cost,
            "aim": [["helpful", "harmless"][i % 2] for i in range(ROWS)],
            "test": [f"test {i // 4}" for i in range(ROWS)],
            "prompt": [f"Write mail {i % 5}: " for i in range(ROWS)],
            "p": np.full(ROWS, 1 / 8),
        }
    )


@pytest.fixture(scope="session")
def doors(table, tmp_path_factory):
    """Return the training rows of a recipe as a file, and what runs a recipe on the whole."""
    return Doors(table, tmp_path_factory.mktemp("doors"))


class Doors:
    """The same log behind three doors; a recipe holds out rows, the others get what is left."""

    encoder = "hashing"

    def __init__(self, table, folder):
        self.table, self.folder = table, folder
        self.path = folder / "log.parquet"
        pq.write_table(table, self.path)
        self.runs = 0

    def train(self, roles: dict) -> tuple[ca.Logs, str]:
        """Return the rows that a recipe trains on, as logs and as the path of a file."""
        logs = ca.Logs.read(self.path, ca.Roles(**roles))
        train = logs.take(~draw_held_out(logs, 0.3, 0), "as a recipe does")
        path = self.folder / f"train-{'-'.join(sorted(map(str, roles.values())))[:80]}.parquet"
        pq.write_table(train.data, path)
        return train, str(path)

    def run_recipe(self, roles: dict, **stages):
        """Run a recipe into a new folder and return the folder."""
        self.runs += 1
        place = self.folder / f"recipe-{self.runs}"
        place.mkdir()
        settings = {
            "name": "doors",
            "data": {"path": str(self.path), "roles": roles},
            "encoder": self.encoder,
            "evaluate": {"pairs_by": ["test"]},
            **stages,
        }
        (place / "pipeline.yaml").write_text(yaml.safe_dump(settings))
        recipe = ca.recipe.load(place / "pipeline.yaml")
        return ca.pipeline.run(recipe, place / "run", say=lambda line: None).folder

    def call(self, *arguments) -> None:
        """Call the command line."""
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        assert stopped.value.code == 0, arguments

    @staticmethod
    def options(roles: dict) -> list[str]:
        """Return roles as options of the command line."""
        names = {"confounders": "confounder", "instruments": "instrument"}
        return [
            part
            for role, columns in roles.items()
            for column in ([columns] if isinstance(columns, str) else columns)
            for part in (f"--{names.get(role, role)}", column)
        ]

    @staticmethod
    def assignments(settings: dict, before: str = "") -> list[str]:
        """Return nested settings as ``--set`` options."""
        parts = []
        for name, value in settings.items():
            if isinstance(value, dict):
                parts += Doors.assignments(value, f"{before}{name}.")
            else:
                parts += ["--set", f"{before}{name}={yaml.safe_dump(value).splitlines()[0]}"]
        return parts
