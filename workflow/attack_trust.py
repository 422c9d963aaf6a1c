"""Whether the attacks of a report can be believed: judged by their records, shown beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..attacks.trust import HEADERS, Trust, trust_document, trust_of, trust_rows
from ..evaluate.report.table import Table
from .scored_runs import ScoredRun

VERDICT = -1
"""The column of ``HEADERS`` that says what came out."""


@dataclass(frozen=True)
class JudgedAttack:
    """An attack, and what is to be said of it.

    Attributes:
        run: Its folder.
        name: What the report calls the model.
        steps: The count that is judged.
        trust: The diagnostics, the worst first.
    """

    run: str
    name: str
    steps: int
    trust: Trust

    def table(self) -> Table:
        """What failed and what is undecided; what passed is counted below."""
        rows = [row for row in trust_rows(self.trust) if row[VERDICT] != "passed"]
        passed = len(self.trust.diagnostics) - len(rows)
        notes = (
            self.trust.sentence,
            f"judged at {self.steps} steps by the {self.trust.images:,} images that were right, "
            f"{self.trust.traced:,} of which made all steps; {passed} diagnostics passed; how each "
            "is defined, its bound and its source: docs/protocols.md",
        )
        title = f"{self.name}: can the attack be believed?"
        return Table(title, HEADERS, tuple(rows), notes, words=(0, len(HEADERS) - 1))

    def document(self) -> dict[str, Any]:
        """All diagnostics, for programs."""
        made = {"run": self.run, "model": self.name, "steps": self.steps}
        return {**made, **trust_document(self.trust)}


def judged_attacks(named: Sequence[tuple[str, ScoredRun]]) -> Iterator[JudgedAttack]:
    """Each attack of these runs at its smallest and at its largest count of steps.

    An accuracy is shown at either, and what is wrong with few steps may be right with many.
    """
    for name, one in named:
        settings = one.run.key.attack
        if settings is None or not one.records.finished:
            continue
        tables = {float(c["epsilon"]): table for c, table in one.records.finished.items()}
        for steps in dict.fromkeys((settings.steps[0], settings.steps[-1])):
            called = name if len(settings.steps) == 1 else f"{name}, {steps} steps"
            trust = trust_of(settings, tables, steps=steps)
            yield JudgedAttack(str(one.run.folder), called, steps, trust)
