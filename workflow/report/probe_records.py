"""Records of extra runs that the diagnostics of an attack need.

These are probes in the folder of the attack (``workflow/attack/probe_runs.py``), and transferred
attacks on the same model among the runs of a report: an image that was made on another model and
fools this one, although its own gradients did not, is evidence against the search.
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
from ...records.fingerprints import different_files
from ...records.run import MANIFEST, open_run
from ..attack.probe_plan import PROBES, probe_folder, probe_key
from ..runs.scored_run import ScoredRun, scored_run_of

if TYPE_CHECKING:
    import pyarrow as pa

    Tables = Mapping[float, pa.Table]


def probe_records(attack: ScoredRun, others: Sequence[ScoredRun]) -> Probes:
    """Records of the extra runs of an attack, at the epsilons that are finished in both.

    Args:
        attack: A white-box attack.
        others: Runs of the same report; transferred attacks among them are used.

    Raises:
        InputError: If a probe is another attack's, or its records are damaged.
    """
    tables = {name: probe.by_epsilon for name, probe in _finished_probes(attack).items()}
    tables["transfer"] = _transferred(attack, others)
    epsilons = {float(condition["epsilon"]) for condition in attack.records.finished}

    def at_epsilons(name: str) -> "Tables":
        return {e: table for e, table in tables.get(name, {}).items() if e in epsilons}

    return Probes(
        noise=at_epsilons("noise"),
        transfer=at_epsilons("transfer"),
        gradient_free=at_epsilons("gradient-free"),
        twice_the_steps=at_epsilons("twice-the-steps"),
        unbounded=next(iter(tables.get("unbounded", {}).values()), None),
    )


def probe_settings(attack: ScoredRun) -> tuple[ProbeSettings, ...]:
    """Settings of the probes that have finished an epsilon, with the images that they have."""
    return tuple(
        replace(probe.key.probe, images=probe.run.manifest.items)
        for probe in _finished_probes(attack).values()
        if probe.key.probe is not None
    )


def _finished_probes(attack: ScoredRun) -> dict[str, ScoredRun]:
    probes = {name: _probe(attack.run, name) for name in PROBES}
    return {name: probe for name, probe in probes.items() if probe and probe.records.finished}


def _probe(attack: Run, name: ProbeName) -> ScoredRun | None:
    """The run of a probe, or ``None`` if the probe was not made."""
    folder = probe_folder(attack.folder, name)
    if not (folder / MANIFEST).is_file():
        return None
    probe = open_run(folder)
    settings = probe.key.probe
    if settings is None or settings.name != name or probe.key != probe_key(attack.key, settings):
        raise InputError(
            f"{printable(folder)} is not a probe of the attack whose folder it is in. Remove it, "
            "and make it again with --probe."
        )
    if different := different_files(attack, probe, IMAGENET.conditions):
        raise InputError(
            f"{printable(folder)} has other images than the attack whose folder it is in: "
            f"{printable(different[0])} differs. Remove it, and make it again with --probe."
        )
    return scored_run_of(probe)


def _transferred(attack: ScoredRun, others: Sequence[ScoredRun]) -> "dict[float, pa.Table]":
    """Images that transferred attacks on the same model fool, by epsilon."""
    import pyarrow as pa

    by_epsilon: dict[float, list[pa.Table]] = {}
    for other in others:
        if other.key.benchmark == TRANSFER.name and _is_comparable(attack.run, other.run):
            for epsilon, table in other.by_epsilon.items():
                by_epsilon.setdefault(epsilon, []).append(fooled_by_transfer(table))
    return {epsilon: pa.concat_tables(tables) for epsilon, tables in by_epsilon.items()}


def _is_comparable(attack: Run, transfer: Run) -> bool:
    """Whether a transferred attack is on this model, within the same bounds, on the same pixels.

    Images that were made on this model itself are not transferred to it, and images that only
    rounding to half precision fools are no evidence against a search in float32.
    """
    ours, theirs, source = attack.key, transfer.key, transfer.key.transfer
    assert source is not None
    assert ours.attack is not None
    assert theirs.attack is not None
    return (
        (ours.weights_sha256, ours.ids_sha256, ours.generated)
        == (theirs.weights_sha256, theirs.ids_sha256, theirs.generated)
        and attack.shares_network(transfer)
        and theirs.engine.precision == ours.engine.precision
        and source.weights_sha256 != ours.weights_sha256
        and ours.attack.relative_epsilon == theirs.attack.relative_epsilon
        and _pixels(ours.preprocessing) == _pixels(source.preprocessing)
        and ours.preprocessing == theirs.preprocessing
        and not different_files(attack, transfer, IMAGENET.conditions)
    )


def _pixels(preprocessing: Preprocessing) -> tuple[object, ...]:
    """Settings that decide which pixels a photo becomes, before any normalisation."""
    return preprocessing.resize_px, preprocessing.crop_px, preprocessing.interpolation
