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
from functools import partial
from typing import TYPE_CHECKING, Any

from ...attacks.attack_counts import attack_counts
from ...attacks.transfer import transfer_counts
from ...contracts import (
    AttackSettings,
    AuxiliaryRecords,
    Condition,
    Evaluation,
    Number,
    Run,
    TransferSource,
    protocol_name,
    wilson_interval,
)
from ...evaluate.benchmarks.table import ATTACKS, find_benchmark
from ...evaluate.benchmarks.top5 import ALL_SKIPPED
from ...evaluate.benchmarks.transfer import TRANSFER
from ...evaluate.benchmarks.whitebox import epsilon_conditions
from ...records.reading import values_there

if TYPE_CHECKING:
    import pyarrow as pa

OF_RIGHT, NONE_RIGHT = "target_reached", "no image is right without an attack"


def benchmark_of(run: Run) -> Evaluation:
    """The benchmark of a run; of an attack, the evaluation of the epsilons that the run has."""
    attack = ATTACKS.get(run.key.benchmark)
    if attack is None or run.key.attack is None:
        return find_benchmark(run.key.benchmark)
    return Evaluation(
        info=attack.info,
        conditions=epsilon_conditions(epsilons_there(run)),
        numbers=partial(_numbers, run, run.key.attack, attack.info.published_items),
    )


def transfer_source(run: Run) -> TransferSource | None:
    """The model on which the images that a run classifies were made; `None` if there is none."""
    return run.key.transfer if run.key.benchmark == TRANSFER.name else None


def protocol_fields(run: Run) -> dict[str, str | None]:
    """Protocol of an attack and the image that it hands on; nothing if this version knows neither.

    The run's identity has both in one name, with the version of what the protocol counts.
    """
    attack, source = run.key.attack, transfer_source(run)
    if attack is None:
        return {}
    image = None if source is None else source.image
    kind = "whitebox" if source is None else "transfer"
    if run.key.protocol != protocol_name(kind, attack.protocol, image):
        return {}
    return {"attack_protocol": attack.protocol, "handed_image": image}


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


def _numbers(
    run: Run,
    settings: AttackSettings,
    published: int,
    model: "tuple[Mapping[Condition, pa.Table], AuxiliaryRecords]",
) -> Iterator[Number]:
    """Numbers of the finished epsilons; those without an attack come first, and once."""
    source = transfer_source(run)
    for position, (condition, table) in enumerate(model[0].items()):
        if source is None:
            counts = attack_counts(table, settings)
            clean = {"clean_accuracy": counts.clean}
            by_steps = {
                "accuracy_under_attack": counts.under_attack,
                "label_unchanged": counts.unchanged,
            }
            if counts.reached is not None:
                by_steps[OF_RIGHT] = counts.reached
        else:
            transferred = transfer_counts(table, settings, source.image)
            counts = transferred.source
            clean = {"clean_accuracy": transferred.clean, "source_clean_accuracy": counts.clean}
            by_steps = {
                "accuracy_under_attack": transferred.right,
                "label_unchanged": transferred.both,
                "source_accuracy": counts.under_attack,
            }
        fields: dict[str, Any] = {
            "n": counts.n,
            "skipped": counts.skipped,
            "complete": run.key.limit is None and not counts.skipped and counts.n >= published,
            "source_model": None if source is None else source.model,
        }
        if position == 0:
            for metric, count in clean.items():
                yield _rate({**fields, "metric": metric}, count)
        fields |= _fields_at_epsilon(settings, float(condition["epsilon"]))
        for metric, counts_by_step in by_steps.items():
            n = counts.clean if metric == OF_RIGHT else counts.n
            for steps, count in zip(settings.steps, counts_by_step, strict=True):
                yield _rate({**fields, "metric": metric, "steps": steps, "n": n}, count)


def _fields_at_epsilon(settings: AttackSettings, epsilon: float) -> dict[str, Any]:
    """Fields that the numbers at one epsilon share; a step relative to an image has no size."""
    varies_by_image = settings.relative_epsilon and settings.step_size is None
    return {
        "epsilon": epsilon,
        "restarts": settings.restarts,
        "step_size": None if varies_by_image else settings.step_px(epsilon),
        "relative_epsilon": settings.relative_epsilon,
    }


def _rate(fields: Mapping[str, Any], count: int) -> Number:
    n = fields["n"]
    if not n:
        reason = NONE_RIGHT if fields["metric"] == OF_RIGHT else ALL_SKIPPED
        return Number({**fields, "reason": reason})
    return Number(fields, [count / n], wilson_interval(count / n, n))
