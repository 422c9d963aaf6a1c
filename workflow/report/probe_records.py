"""The records of extra runs, as the attack that they are to judge needs them.

Two kinds: probes in the folder of the attack (``workflow/attack/probe_plan.py``), and transferred
attacks on the same model among the runs of a report: what was made on another model and fools this
one, where its own gradients did not, speaks against the search.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...attacks.reliability import Probes
from ...attacks.transfer import fooled_by_transfer
from ...contracts import Preprocessing, ProbeName, ProbeSettings, Run
from ...errors import InputError, printable
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.benchmarks.transfer import TRANSFER
from ...evaluate.benchmarks.whitebox import epsilon_conditions
from ...records.fingerprints import compare_runs
from ...records.reading import RunRecords, read_run
from ...records.run import MANIFEST, open_run
from ..attack.probe_plan import PROBES, probe_folder, probe_key
from ..runs.attack_scores import epsilons_there
from ..runs.scored_run import ScoredRun

if TYPE_CHECKING:
    import pyarrow as pa

    Tables = Mapping[float, pa.Table]


def probes_of(attack: ScoredRun, others: Sequence[ScoredRun]) -> Probes:
    """What extra runs say beside an attack, at the epsilons that are finished in both.

    Args:
        attack: A white-box attack.
        others: Runs of the same report, among which transferred attacks may be.

    Raises:
        InputError: If a probe is another attack's, or its records are damaged.
    """
    epsilons = {float(c["epsilon"]) for c in attack.records.finished}
    found = {name: _tables(attack.run, name) for name in PROBES}
    unbounded = list(found["unbounded"].values())
    return Probes(
        noise=_at(epsilons, found["noise"]),
        transfer=_at(epsilons, _transferred(attack, others)),
        gradient_free=_at(epsilons, found["gradient-free"]),
        twice_the_steps=_at(epsilons, found["twice-the-steps"]),
        unbounded=unbounded[0] if unbounded else None,
    )


def probes_there(attack: ScoredRun) -> tuple[ProbeSettings, ...]:
    """The probes of an attack that have an epsilon finished, each of as many images as it has."""
    settings = []
    for name in PROBES:
        probe = _probe(attack.run, name)
        if probe is not None and probe.key.probe is not None and _records(probe).finished:
            settings.append(replace(probe.key.probe, images=probe.manifest.items))
    return tuple(settings)


def _at(epsilons: set[float], tables: "Tables") -> "Tables":
    return {epsilon: table for epsilon, table in tables.items() if epsilon in epsilons}


def _tables(attack: Run, name: ProbeName) -> "Tables":
    """The finished records of a probe, by epsilon."""
    if (probe := _probe(attack, name)) is None:
        return {}
    finished = _records(probe).finished
    return {float(condition["epsilon"]): table for condition, table in finished.items()}


def _records(probe: Run) -> RunRecords:
    return read_run(probe, epsilon_conditions(epsilons_there(probe)))


def _probe(attack: Run, name: ProbeName) -> Run | None:
    """The run of a probe, if it is there."""
    folder = probe_folder(attack.folder, name)
    if not (folder / MANIFEST).is_file():
        return None
    probe = open_run(folder)
    made = probe.key.probe
    if made is None or made.name != name or probe.key != probe_key(attack.key, made):
        raise InputError(
            f"{printable(folder)} is no probe of the attack that it lies in. Remove it, and make "
            "it again with --probe."
        )
    if different := compare_runs(attack, probe, IMAGENET.conditions).different:
        raise InputError(
            f"{printable(folder)} was made of other images than the attack that it lies in: "
            f"{printable(different[0])} differs. Remove it, and make it again with --probe."
        )
    return probe


def _transferred(attack: ScoredRun, others: Sequence[ScoredRun]) -> "Tables":
    """What transferred attacks on the same model and the same images found, by epsilon."""
    import pyarrow as pa

    found: dict[float, list[pa.Table]] = {}
    for other in others:
        if other.run.key.benchmark == TRANSFER.name and _of_the_same(attack.run, other.run):
            for condition, table in other.records.finished.items():
                found.setdefault(float(condition["epsilon"]), []).append(fooled_by_transfer(table))
    return {epsilon: pa.concat_tables(tables) for epsilon, tables in found.items()}


def _of_the_same(attack: Run, transfer: Run) -> bool:
    """Whether a transferred attack is on this model, within as much, on photos of these pixels.

    What was made on this model itself is no transferred attack on it, and what rounding to half
    precision turned is no fault of a search in float32.
    """
    ours, theirs = attack.key, transfer.key
    assert theirs.transfer is not None
    assert ours.attack is not None
    assert theirs.attack is not None
    return (
        (ours.weights_sha256, ours.ids_sha256, ours.generated)
        == (theirs.weights_sha256, theirs.ids_sha256, theirs.generated)
        and theirs.engine.precision == ours.engine.precision
        and theirs.transfer.weights_sha256 != ours.weights_sha256
        and ours.attack.relative_epsilon == theirs.attack.relative_epsilon
        and _pixels(ours.preprocessing) == _pixels(theirs.transfer.preprocessing)
        and ours.preprocessing == theirs.preprocessing
        and not compare_runs(attack, transfer, IMAGENET.conditions).different
    )


def _pixels(preprocessing: Preprocessing) -> tuple[object, ...]:
    """What decides which pixels a photo becomes, whatever is then done to them."""
    return preprocessing.resize_px, preprocessing.crop_px, preprocessing.interpolation
