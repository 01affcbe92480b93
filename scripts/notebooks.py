"""Execute the notebooks and keep what they show, without paths, times and control characters.

python scripts/notebooks.py                       execute all, write their outputs
python scripts/notebooks.py notebooks/tuning.ipynb   one of them
python scripts/notebooks.py --check               execute all, write nothing; 1 where a cell fails
"""

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LONGEST = 600  # seconds of a cell


def execute(path: Path) -> NotebookNode:
    """Return a notebook with its outputs made anew, in a folder of its own."""
    notebook = nbformat.read(path, as_version=4)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=LONGEST, kernel_name="python3", resources=where, record_timing=False
        ).execute()
        for cell in notebook.cells:
            if "outputs" in cell:
                cell.outputs = [tidy(one, folder) for one in join_streams(cell.outputs)]
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
    }
    return notebook


def join_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Return outputs with what was printed in one piece, without progress and warnings."""
    joined: list[NotebookNode] = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1]["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def tidy(output: NotebookNode, folder: str) -> NotebookNode:
    """Return an output without what differs between two runs on two machines."""
    if "text" in output:
        output["text"] = _plain(output["text"], folder)
    data = output.get("data", {})
    for kind in data:
        if kind.startswith("text/"):
            data[kind] = _plain(data[kind], folder)
    return output


def _plain(text: str, folder: str) -> str:
    """Return a text as a file would show it: no colours, no path, the last state of each line."""
    lines = CONTROL.sub("", text).replace("\r\n", "\n").replace(f"{folder}/", "").split("\n")
    return "\n".join(line.rsplit("\r", 1)[-1].rstrip() for line in lines)


def main() -> int:
    """Execute the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS)
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    for path in given.notebooks:
        start = time.perf_counter()
        try:
            notebook = execute(path)
        except CellExecutionError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return 1
        print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
        if not given.check:
            nbformat.write(notebook, path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
