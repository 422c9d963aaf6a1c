"""The numbers of an attack's run: for every epsilon, and every count of steps.

    clean_accuracy          right without an attack
    accuracy_under_attack   right by the count of the protocol
    label_unchanged         right, and no iterate of any attempt was classified otherwise
    target_reached          of targeted attacks: driven to the target, of those that are right

Of an attack that is made on another model, its source:

    accuracy_under_attack   right on the image that the source's attack hands on
    label_unchanged         right on that image, and without an attack
    source_accuracy         the source's own accuracy under that attack, by the protocol's count
    source_clean_accuracy   the source is right without an attack

All but ``target_reached`` are shares of all images that were not skipped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ...attacks.attack_counts import AttackCounts, attack_counts
from ...attacks.transfer import transfer_counts
from ...contracts import (
    AttackSettings,
    AuxiliaryRecords,
    Condition,
    Difference,
    Evaluation,
    Run,
    Score,
    TransferSource,
    wilson_interval,
)
from ...evaluate.benchmarks.table import ATTACKS, find_benchmark
from ...evaluate.benchmarks.top5 import ALL_SKIPPED
from ...evaluate.benchmarks.transfer import TRANSFER
from ...evaluate.benchmarks.whitebox import epsilon_conditions
from ...records.reading import values_there

if TYPE_CHECKING:
    import pyarrow as pa

    Records = Mapping[Condition, pa.Table]

OF_RIGHT, NONE_RIGHT = "target_reached", "no image is right without an attack"

METRICS = {"accuracy_under_attack": "under_attack", "label_unchanged": "unchanged"}
"""Metrics of each epsilon and count of steps, and the field of ``AttackCounts`` behind each."""


def benchmark_of(run: Run) -> Evaluation:
    """The benchmark of a run; of an attack, the evaluation of the epsilons that the run has."""
    attack, settings = ATTACKS.get(run.key.benchmark), run.key.attack
    if attack is None or settings is None:
        return find_benchmark(run.key.benchmark)
    transfer = run.key.transfer if attack is TRANSFER else None
    scores = partial(_scores, settings)
    if transfer is not None:
        scores = partial(_transfer_scores, settings, transfer)
    return Evaluation(
        info=attack.info,
        conditions=epsilon_conditions(epsilons_there(run)),
        scores=partial(scores, run.key.limit, attack.info.published_items),
        differences=_no_differences,
    )


def _no_differences(
    a: "Records", b: "Records", auxiliary_a: AuxiliaryRecords, auxiliary_b: AuxiliaryRecords
) -> Iterator[Difference]:
    """Attacks are not compared in pairs."""
    yield from ()


def epsilons_there(run: Run) -> list[float]:
    """Epsilons that a run has folders for; copies of folders under other names do not count."""
    epsilons = []
    for value in values_there(run, "epsilon"):
        try:
            epsilon = float(value)
        except ValueError:
            continue
        if str(epsilon) == value and 0 < epsilon <= 1:
            epsilons.append(epsilon)
    return sorted(epsilons)


def _scores(
    settings: AttackSettings,
    limit: int | None,
    published: int,
    records: "Records",
    auxiliary: AuxiliaryRecords,
) -> Iterator[Score]:
    for position, (condition, table) in enumerate(records.items()):
        counts = attack_counts(table, settings)
        facts = _facts(counts, limit, published)
        if position == 0:
            yield _rate(replace(facts, metric="clean_accuracy"), counts.clean)
        yield from _scores_at_epsilon(
            _facts_at_epsilon(facts, settings, float(condition["epsilon"])), counts
        )


def _facts(counts: AttackCounts, limit: int | None, published: int) -> Score:
    whole = limit is None and not counts.skipped and counts.n >= published
    return Score(n=counts.n, skipped=counts.skipped, complete=whole)


def _facts_at_epsilon(facts: Score, settings: AttackSettings, epsilon: float) -> Score:
    """Fields that the numbers at one epsilon share; a step relative to an image has no size."""
    varies_by_image = settings.relative_epsilon and settings.step_size is None
    return replace(
        facts,
        epsilon=epsilon,
        restarts=settings.restarts,
        step_size=None if varies_by_image else settings.step_px(epsilon),
        relative_epsilon=settings.relative_epsilon,
    )


def _transfer_scores(
    settings: AttackSettings,
    source: TransferSource,
    limit: int | None,
    published: int,
    records: "Records",
    auxiliary: AuxiliaryRecords,
) -> Iterator[Score]:
    for position, (condition, table) in enumerate(records.items()):
        counts = transfer_counts(table, settings, source.image)
        facts = _facts(counts.source, limit, published)
        facts = replace(facts, source_model=source.model)
        if position == 0:
            yield _rate(replace(facts, metric="clean_accuracy"), counts.clean)
            yield _rate(replace(facts, metric="source_clean_accuracy"), counts.source.clean)
        facts = _facts_at_epsilon(facts, settings, float(condition["epsilon"]))
        for metric, counts_by_step in (
            ("accuracy_under_attack", counts.right),
            ("label_unchanged", counts.both),
            ("source_accuracy", counts.source.under_attack),
        ):
            for steps, count in zip(settings.steps, counts_by_step, strict=True):
                yield _rate(replace(facts, metric=metric, steps=steps), count)


def _scores_at_epsilon(facts: Score, counts: AttackCounts) -> Iterator[Score]:
    for metric, name in METRICS.items():
        for steps, count in zip(counts.steps, getattr(counts, name), strict=True):
            yield _rate(replace(facts, metric=metric, steps=steps), count)
    facts_of_right = replace(facts, metric=OF_RIGHT, n=counts.clean)
    for steps, count in zip(counts.steps, counts.reached or (), strict=False):
        yield _rate(replace(facts_of_right, steps=steps), count)


def _rate(facts: Score, count: int) -> Score:
    if not facts.n:
        return replace(facts, reason=NONE_RIGHT if facts.metric == OF_RIGHT else ALL_SKIPPED)
    low, high = wilson_interval(count / facts.n, facts.n)
    return replace(facts, value=count / facts.n, low=low, high=high)
