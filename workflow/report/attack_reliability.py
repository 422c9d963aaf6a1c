"""Whether the attacks of a report are reliable: diagnostics of their records, as tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...attacks.reliability import (
    HEADERS,
    AttackAssessment,
    Diagnostic,
    Probes,
    assess_attack,
    assessment_document,
    assessment_rows,
)
from ...contracts import ProbeSettings, RunKey, epsilon_text
from ...reporting.table import Table
from ...storage.documents import plain
from ..attack.probe_plan import probe_text
from ..runs.scored_run import ScoredRun
from .probe_records import probe_records, probe_settings

QUESTION = "is the attack reliable?"


@dataclass(frozen=True)
class AssessedAttack:
    """An attack at one count of steps, and its assessment.

    Attributes:
        run: Folder of the run.
        name: Name of the model in the report.
        steps: Count of steps that is assessed.
        assessment: The diagnostics, the worst first.
        key: Identity of the run, which contains the settings of the attack.
        has_table: Whether the report has a table of the diagnostics; counts of steps between the
            smallest and the largest have one line.
        probes: Extra runs that the assessment uses in addition to the attack.
    """

    run: str
    name: str
    steps: int
    assessment: AttackAssessment
    key: RunKey
    has_table: bool = True
    probes: tuple[ProbeSettings, ...] = ()

    def table(self) -> Table:
        """A row for each diagnostic, at its worst epsilon; those without a value are notes."""
        worst = self._worst()
        measured = tuple(d for d in worst if d.value is not None)
        notes = [self.assessment.sentence, attack_text(self.key), self._basis()]
        if self.probes:
            notes.append(f"probes: {'; '.join(map(probe_text, self.probes))}")
        notes += self._without_value([d for d in worst if d.value is None])
        rows = assessment_rows(replace(self.assessment, diagnostics=measured))
        title = f"{self.name}: {QUESTION}"
        return Table(title, HEADERS, tuple(rows), tuple(notes), words=(0, 1, len(HEADERS) - 1))

    def answer(self) -> str:
        """The verdict in one sentence, with the diagnostics that failed."""
        worst = self._worst()
        failed = [d.title for d in worst if d.verdict == "failed"]
        if failed:
            return f"No: {len(failed)} of {len(worst)} diagnostics failed: {'; '.join(failed)}."
        undecided = sum(d.verdict == "undecided" for d in worst)
        if undecided or not worst:
            return f"Undecided: no diagnostic failed, {undecided} of {len(worst)} are undecided."
        return f"Yes: all {len(worst)} diagnostics passed."

    def _worst(self) -> list[Diagnostic]:
        """Each diagnostic at its worst epsilon, the worst diagnostic first."""
        first: dict[str, Diagnostic] = {}
        for diagnostic in self.assessment.diagnostics:
            first.setdefault(diagnostic.name, diagnostic)
        return list(first.values())

    def _without_value(self, diagnostics: Sequence[Diagnostic]) -> Iterator[str]:
        """Notes on diagnostics without a value; those that need an extra run have their own."""
        titles = {d.name: d.title for d in diagnostics}
        unprobed = [titles.pop(name) for name in self.assessment.unprobed if name in titles]
        if titles:
            yield f"not measurable here: {'; '.join(titles.values())}"
        if unprobed:
            runs = "attack whitebox --probe, or a transferred attack"
            yield f"needs an extra run ({runs}): {'; '.join(unprobed)}"

    def _basis(self) -> str:
        return (
            f"assessed at {self.steps} steps by the images that were right, "
            f"{self.assessment.images:,}, of which {self.assessment.traced:,} made all steps; of "
            "several epsilons the worst is shown; definitions, bounds and sources: "
            "docs/protocols.md"
        )

    def document(self) -> dict[str, Any]:
        """All diagnostics, for programs."""
        return {
            "run": self.run,
            "model": self.name,
            "steps": self.steps,
            "settings": plain(self.key.attack),
            "subset": self.key.subset,
            "limit": self.key.limit,
            "probes": [plain(probe) for probe in self.probes],
            **assessment_document(self.assessment),
        }


def attack_text(key: RunKey) -> str:
    """The settings of an attack in words, which tell attacks by one protocol apart."""
    settings = key.attack
    assert settings is not None
    if settings.step_size is not None:
        step = epsilon_text(settings.step_size)
    else:
        step = f"{settings.relative_step:g} epsilon / steps"
    starts = "1 start" if settings.restarts == 1 else f"{settings.restarts} starts"
    bound = "epsilon times the largest value" if settings.relative_epsilon else "absolute epsilon"
    losses = " and ".join(settings.losses).replace("_", "-")
    aim = "towards a drawn class" if settings.targeted else "away from the label"
    return (
        f"the attack: {settings.protocol}, {aim} by {losses}, step {step}, "
        f"{starts}, {bound}, seed {settings.seed}; images: {key.subset or 'all'}"
        f"{'' if key.limit is None else f', limit {key.limit:,}'}"
    )


def assessed_attacks(named_runs: Sequence[tuple[str, ScoredRun]]) -> Iterator[AssessedAttack]:
    """Each attack of these runs at each step count: the smallest may be too small."""
    transferred: list[object] = []
    for name, one in named_runs:
        key = one.key
        if key.attack is None or not one.records.finished:
            continue
        probes, settings = Probes(), tuple[ProbeSettings, ...]()
        if key.transfer is None:
            probes = probe_records(one, [other for _, other in named_runs])
            settings = probe_settings(one)
        else:
            # The same attack on the same source, whose images several models classified.
            attack = (key.transfer, key.attack, key.ids_sha256, key.limit, key.subset)
            if attack in transferred:
                continue
            transferred.append(attack)
            name = f"{key.transfer.model}, attacked for transfer"
        tables, counts = one.by_epsilon, key.attack.steps
        for steps in counts:
            yield AssessedAttack(
                str(one.run.folder),
                name if len(counts) == 1 else f"{name}, {steps} steps",
                steps,
                assess_attack(key.attack, tables, probes, steps=steps),
                key,
                has_table=steps in (counts[0], counts[-1]),
                probes=settings,
            )


def assessment_tables(attacks: Sequence[AssessedAttack]) -> list[Table]:
    """A table for the smallest and the largest count of each; lines for those in between."""
    tables: list[Table] = []
    for attack in attacks:
        if attack.has_table:
            tables.append(attack.table())
            continue
        line = f"at {attack.steps} steps: {attack.assessment.sentence}"
        tables[-1] = replace(tables[-1], notes=(*tables[-1].notes, line))
    return tables


def assessment_summary(attacks: Sequence[AssessedAttack]) -> list[Table]:
    """One table of all attacks, with one sentence for each."""
    rows = tuple((attack.name, attack.answer()) for attack in attacks)
    note = (
        "how the attack was made, and every diagnostic with its value and bound: "
        "`evaluator report RUN --verbose`"
    )
    table = Table(QUESTION.capitalize(), ("attack", "answer"), rows, (note,), words=(0, 1))
    return [table] if rows else []
