r"""Tables as LaTeX, for ``\input``: booktabs, with the marks of numbers as table notes.

It needs the packages booktabs, threeparttable and adjustbox, and T1 fonts.
"""

import re
from collections.abc import Iterable

from .footnotes import MARKS
from .table import Table

_HEADER = "% Made by evaluator. Packages: booktabs, threeparttable, adjustbox; T1 fonts.\n"
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "-": "{-}",  # two of them are no dash, as in --data
    "[": "{[}",  # not the argument of a line break
    **{character: f"\\{character}" for character in "{}$&#_%"},
}
_LATIN = re.compile(r"[^\x20-\x7e\xa0-\xff]")
_MARKED = re.compile(rf"^(.*?)((?:{'|'.join(map(re.escape, MARKS))})*)$", re.DOTALL)


def escaped(text: str) -> str:
    r"""Text for LaTeX; a character that not every font has is shown as its code point.

    Example:
        >>> print(escaped("50 % of my_net [1, 2]"))
        50 \% of my\_net {[}1, 2]
        >>> print(escaped("a\u2192b"))
        aU+2192b
    """
    text = _LATIN.sub(lambda match: f"U+{ord(match[0]):04X}", text)
    return "".join(_SPECIAL.get(character, character) for character in text)


def latex_of(tables: Iterable[Table]) -> str:
    r"""A document part with a table environment for each table.

    Example:
        >>> print(latex_of([Table("T", ("model", "%"), (("a_1", "1.0*"),), ("* few",))]))
        % Made by evaluator. Packages: booktabs, threeparttable, adjustbox; T1 fonts.
        \begin{table}
        \centering
        \begin{adjustbox}{max width=\linewidth}
        \begin{threeparttable}
        \caption{T}
        \begin{tabular}{lr}
        \toprule
        model & \% \\
        \midrule
        a\_1 & 1.0\tnote{*} \\
        \bottomrule
        \end{tabular}
        \begin{tablenotes}\footnotesize
        \item[*] few
        \end{tablenotes}
        \end{threeparttable}
        \end{adjustbox}
        \end{table}
        <BLANKLINE>
    """
    return _HEADER + "\n".join(map(_table, tables))


def _table(table: Table) -> str:
    columns = "".join("l" if at in table.words else "r" for at in range(len(table.header)))
    body = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _row(table, table.header),
        r"\midrule",
        *(_row(table, row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    notes = [r"\begin{tablenotes}\footnotesize", *map(_note, table.notes), r"\end{tablenotes}"]
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\begin{adjustbox}{max width=\linewidth}",  # for wide tables
        r"\begin{threeparttable}",
        rf"\caption{{{_marked(table.title)}}}",
        *body,
        *(notes if table.notes else []),
        r"\end{threeparttable}",
        r"\end{adjustbox}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(table: Table, cells: Iterable[str]) -> str:
    texts = (
        escaped(cell) if at in table.words and cell not in table.header else _marked(cell)
        for at, cell in enumerate(cells)
    )
    return " & ".join(texts) + r" \\"


def _marked(text: str) -> str:
    r"""Text whose marks at the end are raised.

    Example:
        >>> print(_marked("10.0 [2, 30]*^"))
        10.0 {[}2, 30]\tnote{*\textasciicircum{}}
    """
    match = _MARKED.match(text)
    plain, marks = match.groups() if match else (text, "")
    return escaped(plain.rstrip()) + (rf"\tnote{{{escaped(marks)}}}" if marks else "")


def _note(note: str) -> str:
    mark, space, text = note.partition(" ")
    if mark in MARKS and space:
        return rf"\item[{escaped(mark)}] {escaped(text)}"
    return rf"\item {escaped(note)}"
