"""Whether the attacks of a report can be believed: judged by their records, shown beside them."""

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
from ...contracts import AttackSettings, ProbeSettings, RunKey, epsilon_text
from ...reporting.table import Table
from ...storage.documents import plain
from ..attack.probe_plan import probe_text
from ..runs.scored_run import ScoredRun
from .probe_records import probes_of, probes_there


@dataclass(frozen=True)
class AssessedAttack:
    """An attack, and what is to be said of it.

    Attributes:
        run: Its folder.
        name: What the report calls the model.
        steps: The count that is judged.
        trust: The diagnostics, the worst first.
        key: What the run is: whoever named a choice otherwise made another attack.
        shown: Whether it has a table; of counts in between one line says what is wrong with them.
        probes: The extra runs beside it that it was judged by.
    """

    run: str
    name: str
    steps: int
    trust: AttackAssessment
    key: RunKey
    shown: bool = True
    probes: tuple[ProbeSettings, ...] = ()

    def table(self) -> Table:
        """A row a diagnostic, its worst epsilon; what could not be measured is named below."""
        worst = {found.name: found for found in reversed(self.trust.diagnostics)}
        shown = [d for d in self.trust.diagnostics if worst[d.name] is d]
        measured = [d for d in shown if d.value is not None]
        notes = [self.trust.sentence, attack_text(self.key), self._basis()]
        if self.probes:
            notes.append(f"probes: {'; '.join(map(probe_text, self.probes))}")
        notes += self._silent([d for d in shown if d.value is None])
        rows = assessment_rows(replace(self.trust, diagnostics=tuple(measured)))
        title = f"{self.name}: can the attack be believed?"
        return Table(title, HEADERS, tuple(rows), tuple(notes), words=(0, 1, len(HEADERS) - 1))

    def _silent(self, diagnostics: Sequence[Diagnostic]) -> Iterator[str]:
        """What was not measured, those that ask for an extra run apart."""
        titles = {d.name: d.title for d in diagnostics}
        unprobed = [titles.pop(name) for name in self.trust.unprobed if name in titles]
        if titles:
            yield f"nothing to judge by: {'; '.join(titles.values())}"
        if unprobed:
            runs = "attack whitebox --probe, or a transferred attack"
            yield f"needs an extra run ({runs}): {'; '.join(unprobed)}"

    def _basis(self) -> str:
        return (
            f"judged at {self.steps} steps by the images that were right, {self.trust.images:,}, "
            f"of which {self.trust.traced:,} made all steps; of several epsilons the worst is "
            "shown; definitions, bounds and sources: docs/protocols.md"
        )

    def document(self) -> dict[str, Any]:
        """All diagnostics, for programs."""
        made = {"run": self.run, "model": self.name, "steps": self.steps}
        chosen = {"subset": self.key.subset, "limit": self.key.limit}
        probes = [plain(probe) for probe in self.probes]
        return {
            **made, "settings": plain(self.key.attack), **chosen, "probes": probes,
            **assessment_document(self.trust),
        }  # fmt: skip


def attack_text(key: RunKey) -> str:
    """What was chosen, in words, so that attacks by one protocol can be told apart."""
    settings = key.attack
    assert settings is not None
    starts = "1 start" if settings.restarts == 1 else f"{settings.restarts} starts"
    within = "epsilon times the largest value" if settings.relative_epsilon else "absolute epsilon"
    losses = " and ".join(settings.losses).replace("_", "-")
    aim = "towards a drawn class" if settings.targeted else "away from the label"
    return (
        f"the attack: {settings.protocol}, {aim} by {losses}, step {_step_text(settings)}, "
        f"{starts}, {within}, seed {settings.seed}; images: {key.subset or 'all'}"
        f"{'' if key.limit is None else f', limit {key.limit:,}'}"
    )


def _step_text(settings: AttackSettings) -> str:
    if settings.step_size is not None:
        return epsilon_text(settings.step_size)
    return f"{settings.relative_step:g} epsilon / steps"


def assessed_attacks(named: Sequence[tuple[str, ScoredRun]]) -> Iterator[AssessedAttack]:
    """Each attack of these runs at each count of steps: few may be too few where many are not."""
    judged: list[object] = []
    for name, one in named:
        settings = one.run.key.attack
        if settings is None or not one.records.finished:
            continue
        probes, made = Probes(), tuple[ProbeSettings, ...]()
        if (transfer := one.run.key.transfer) is None:
            probes = probes_of(one, [other for _, other in named])
            made = probes_there(one)
        else:
            # The same attack on the same source, of which other models saw the images.
            if (same := _attack_of(one.run.key)) in judged:
                continue
            judged.append(same)
            name = f"{transfer.model}, attacked for transfer"
        tables = {float(c["epsilon"]): table for c, table in one.records.finished.items()}
        for steps in settings.steps:
            called = name if len(settings.steps) == 1 else f"{name}, {steps} steps"
            trust = assess_attack(settings, tables, probes, steps=steps)
            shown = steps in (settings.steps[0], settings.steps[-1])
            yield AssessedAttack(
                str(one.run.folder), called, steps, trust, one.run.key, shown, probes=made
            )


def _attack_of(key: RunKey) -> tuple[object, ...]:
    return key.transfer, key.attack, key.ids_sha256, key.limit, key.subset


def assessment_tables(attacks: Sequence[AssessedAttack]) -> list[Table]:
    """A table for the smallest and the largest count of each; lines for those in between."""
    tables: list[Table] = []
    for attack in attacks:
        if attack.shown:
            tables.append(attack.table())
            continue
        line = f"at {attack.steps} steps: {attack.trust.sentence}"
        tables[-1] = replace(tables[-1], notes=(*tables[-1].notes, line))
    return tables
