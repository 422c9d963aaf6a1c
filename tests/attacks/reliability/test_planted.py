"""One planted failure for each diagnostic, and what else each of them raises."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from evaluator.attacks.reliability import CHECKS, AttackAssessment, Probes, assess_attack
from evaluator.tests.attacks.reliability.attacked import (
    STEPS,
    Asked,
    at,
    attacked,
    attempt,
    probe,
    records,
)

SMALL, LARGE = 0.005, 0.01


@dataclass(frozen=True)
class Attack:
    """A run at two epsilons with all its probes: 200, then 300 of 400 images fall."""

    settings: Asked = field(default_factory=Asked)
    tables: dict[float, pa.Table] = field(
        default_factory=lambda: {SMALL: records(attacked(200)), LARGE: records(attacked(300))}
    )
    probes: Probes = field(
        default_factory=lambda: Probes(
            noise={LARGE: probe(range(10))},
            transfer={LARGE: probe(range(100))},
            gradient_free={LARGE: probe(range(250))},
            twice_the_steps={LARGE: probe(range(300))},
            unbounded=probe(range(400)),
        )
    )

    @property
    def trust(self) -> AttackAssessment:
        return at(assess_attack(self.settings, self.tables, self.probes), LARGE)

    def with_table(self, table: pa.Table) -> "Attack":
        return replace(self, tables={SMALL: self.tables[SMALL], LARGE: table})

    def with_probes(self, **probes: Any) -> "Attack":
        return replace(self, probes=replace(self.probes, **probes))


SOUND = Attack()


def standing(**changes: Any) -> Attack:
    """40 of 400 images stand after such attempts."""
    return SOUND.with_table(records(attacked(changes=changes)))


def restart_gain() -> Attack:
    last = [attempt(image, 3, restart=1) for image in range(300, 340)]
    kept = [r for r in attacked() if not ("0300" <= r["id"] < "0340" and r["restart"] == 1)]
    return SOUND.with_table(records(kept + last))


def smaller_epsilon() -> Attack:
    # The first 40 of 400 fall at the smaller epsilon; all but these at the larger one.
    small = attacked(40)
    large = [r for r in attacked(400) if r["id"] >= "0040"]
    large += [r for r in attacked(0) if r["id"] < "0040"]
    probes = Probes(unbounded=probe(range(400)))
    return Attack(tables={SMALL: records(small), LARGE: records(large)}, probes=probes)


PLANTED: dict[str, tuple[Callable[[], Attack], set[str]]] = {
    "zero_gradient": (lambda: standing(zero_share=0.9), set()),
    "dead_steps": (
        lambda: standing(
            dead_steps=STEPS,
            zero_share=1.0,
            gradient_norm=np.zeros(STEPS),
            loss=np.ones(STEPS),
            at_bound=0.0,  # it stays where it began
        ),
        {"zero_gradient", "at_bound"},
    ),
    "vanishing_gradient": (lambda: standing(gradient_norm=np.full(STEPS, 1e-9)), set()),
    "noise_as_strong": (lambda: SOUND.with_probes(noise={LARGE: probe(range(200))}), set()),
    "unbounded": (lambda: SOUND.with_probes(unbounded=probe(range(360))), set()),
    "flat_curve": (
        lambda: replace(
            SOUND,
            tables={LARGE: records(attacked()), 0.02: records(attacked())},
        ),
        set(),
    ),
    "smaller_epsilon": (smaller_epsilon, set()),
    "gradient_free_finds_more": (
        lambda: SOUND.with_probes(gradient_free={LARGE: probe(range(340))}),
        set(),
    ),
    "transfer_finds_more": (
        lambda: SOUND.with_probes(transfer={LARGE: probe(range(300, 340))}),
        set(),
    ),
    "noise_finds_more": (
        lambda: SOUND.with_probes(noise={LARGE: probe(range(300, 340))}),
        set(),
    ),
    "twice_the_steps": (
        lambda: SOUND.with_probes(twice_the_steps={LARGE: probe(range(340))}),
        set(),
    ),
    "late_hits": (
        lambda: SOUND.with_table(
            records(attacked(changes={"changed_step": 46}, changed=range(60)))
        ),
        set(),
    ),
    "incomplete_optimisation": (lambda: standing(loss=np.arange(STEPS)), set()),
    "travel_budget": (lambda: replace(SOUND, settings=Asked(relative_step=1.9)), set()),
    "restart_gain": (restart_gain, set()),
    "oscillation": (lambda: standing(turned=0.5), set()),
    "at_bound": (lambda: standing(at_bound=0.1), set()),
    "silent_success": (
        lambda: SOUND.with_table(records(attacked(changes={"last": 0}, changed=range(40)))),
        set(),
    ),
}
"""What makes each diagnostic fail, and what else it makes fail."""


def failed(trust: AttackAssessment) -> set[str]:
    return {diagnostic.name for diagnostic in trust.failed}


def test_a_converged_run_passes_every_diagnostic() -> None:
    trust = SOUND.trust
    assert {d.name for d in trust.diagnostics} == set(CHECKS)
    assert {d.name: d.verdict for d in trust.diagnostics} == dict.fromkeys(
        (d.name for d in trust.diagnostics), "passed"
    )
    assert trust.verdict == "passed"
    assert trust.sentence == "All 18 diagnostics passed."


@pytest.mark.parametrize("name", CHECKS)
def test_a_planted_failure_raises_its_diagnostic_and_what_it_entails(name: str) -> None:
    plant, entailed = PLANTED[name]
    trust = plant().trust if name != "flat_curve" else _whole(plant())
    assert failed(trust) == {name} | entailed
    assert trust.verdict == "failed"


def _whole(attack: Attack) -> AttackAssessment:
    return assess_attack(attack.settings, attack.tables, attack.probes)


@pytest.mark.parametrize("name", CHECKS)
def test_the_sentence_of_a_failure_is_filled_in(name: str) -> None:
    trust = _whole(PLANTED[name][0]())
    (found, *_) = [d for d in trust.failed if d.name == name]
    assert "{" not in found.sentence
    assert found.sentence.endswith(".")
    if CHECKS[name].needs != "settings":
        assert " %" in found.sentence
