"""Time starting against numpy's import: `import causalign`, `causalign --help`.

python benchmarks/starting.py

The best of five tries counts. What may be loaded is held by tests/architecture/test_imports.py.
"""

import resource
import subprocess
import sys

COMMANDS = {
    "import numpy": ["-c", "import numpy"],
    "import causalign": ["-c", "import causalign"],
    "causalign --help": ["-m", "causalign", "--help"],
}


def processor_seconds(arguments: list[str]) -> float:
    """Return the time of the processor that Python takes."""
    tries = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        tries.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(tries)


if __name__ == "__main__":
    seconds = {name: processor_seconds(arguments) for name, arguments in COMMANDS.items()}
    for name, value in seconds.items():
        print(f"{name}: {value:.2f} s, {value / seconds['import numpy']:.1f} times numpy's")
