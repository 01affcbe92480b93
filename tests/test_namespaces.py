"""What needs a library that is missing says which, and how to install it."""

import subprocess
import sys

import pytest

BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "peft", "trl"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
from causalign.errors import ExtraNotInstalled
try:
    from causalign.%s import %s
except ExtraNotInstalled as missing:
    print(missing)
"""


@pytest.mark.parametrize(
    ("package", "name"),
    [("reward", "LanguageModelReward"), ("reward", "Perceptron"), ("policy", "DPO")],
)
def test_what_needs_torch_says_how_to_install_it(package, name):
    command = [sys.executable, "-c", BLOCKED % (package, name)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "needs torch, which is not installed: `pip install 'causalign[lm]'`" in done.stdout
