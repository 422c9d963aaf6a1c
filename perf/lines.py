"""Count the package's lines of code: those that are neither blank, comment nor docstring.

    python perf/lines.py [FOLDER]

Counted after ``ruff format`` at 100 columns, tests and benchmarks left out. Nothing of the package
is imported, so any checkout can be counted.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = frozenset(("tests", "perf", "build"))

_NO_CODE = frozenset(
    (
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
        *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
    )
)


def main() -> None:
    """Print the lines of each package, and of all."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    lines: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    for path in module_paths(root):
        package = path.parent.relative_to(root).as_posix()
        lines[package] += code_lines(path.read_text("utf-8"))
        modules[package] += 1
    for package in sorted(lines):
        print(f"{package:32} {lines[package]:7,} lines {modules[package]:4} modules")
    print(f"{'all':32} {lines.total():7,} lines {modules.total():4} modules")


def module_paths(root: Path) -> Iterator[Path]:
    """The modules of the package in a checkout."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if parts[0] not in LEFT_OUT and not any(part.startswith(".") for part in parts):
            yield path


def code_lines(source: str) -> int:
    """Number of lines that hold code; a string that stands alone is a docstring."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            docstrings.update(range(node.lineno, (node.end_lineno or 0) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


if __name__ == "__main__":
    main()
