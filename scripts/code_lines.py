"""Count lines of code below a folder: docstrings, comments and blank lines aside, stubs included.

python scripts/code_lines.py src
"""

import ast
import io
import sys
import tokenize
from pathlib import Path

SPACE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
HAVE_DOCSTRINGS = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def count_code_lines(source: str) -> int:
    """Return the lines that hold code."""
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SPACE:
            code |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, HAVE_DOCSTRINGS) and ast.get_docstring(node) is not None:
            first = node.body[0]
            code -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(code)


if __name__ == "__main__":
    files = [path for pattern in ("*.py", "*.pyi") for path in Path(sys.argv[1]).rglob(pattern)]
    print(sum(count_code_lines(path.read_text(encoding="utf-8")) for path in files))
