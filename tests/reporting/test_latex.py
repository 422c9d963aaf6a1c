"""Tables as LaTeX: escaped, with marks as table notes, and accepted by a real LaTeX."""

import shutil
import subprocess
from pathlib import Path

import pytest

from evaluator.reporting.latex import escaped, latex_of
from evaluator.reporting.table import Table

NASTY = r"\end{tabular} {x} $y$ a_b #1 50% ~z^2 & <b> | `q' \"r\" --x [y] 100→50 é"
TABLE = Table(
    NASTY,
    ("model", "error % *", *"abcdefg"),
    ((NASTY, "10.0 [2.8, 30.1]*+^", *"1234567"), ("", "", *"       ")),
    ("* few images", f"[low, high]: {NASTY}"),
)


def test_marks_are_table_notes() -> None:
    text = latex_of([TABLE])
    assert r"10.0 {[}2.8, 30.1]\tnote{*+\textasciicircum{}} & 1" in text
    assert r"error \%\tnote{*}" in text
    assert "\n\\item[*] few images\n" in text
    assert r"\item {[}low, high]" in text
    assert r"\begin{tabular}{lrrrrrrrr}" in text


def test_no_special_character_of_the_data_is_left() -> None:
    text = escaped(NASTY)
    assert r"\end{tabular}" not in text
    for character in "{}$&#_%":
        assert text.replace(f"\\{character}", "").count(character) == 0 or character in "{}"
    assert "U+2192" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_latex_accepts_it(tmp_path: Path) -> None:
    packages = "booktabs", "threeparttable", "adjustbox"
    for package in packages:
        if not subprocess.run(["kpsewhich", f"{package}.sty"], capture_output=True).stdout:
            pytest.skip(f"LaTeX has no {package}")
    (tmp_path / "tables.tex").write_text(latex_of([TABLE, TABLE]))
    (tmp_path / "article.tex").write_text(
        "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n"
        f"\\usepackage{{{','.join(packages)}}}\n"
        "\\begin{document}\n\\input{tables.tex}\n\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "article.pdf").stat().st_size > 1000
