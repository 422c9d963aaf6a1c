"""The two paths against each other: PyTorch's clean predictions and an engine's run of the photos.

An attack classifies every photo in PyTorch before it is attacked. Where a run of ``imagenet`` by an
engine is given, both are compared photo by photo; ``compared_shards.py`` sees that every shard is.
Every difference is told with its margin; one that engines within the bounds of parity cannot have
ends the work, before anything is written of its shard. Two things do (derived in
``engine/cross_check_bounds.py``):

* a margin above ``sqrt(2) (t + t') |S|``, with t the bound of the worst image for what the engine
  computes, t' that for the PyTorch that attacks (0 if it is the reference itself), and ``|S|`` the
  largest signal among parity's own clean photos, measured on the attacked network when a first
  photo differs;
* more photos that differ, of all that were compared, than the agreement that parity measured for
  the engine leaves to chance. A run without a parity result has none, and is held to the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ...contracts import Item, ModelSpec, Progress, Provenance, Run, Source
from ...engine.cross_check_bounds import allowed_margin, too_many
from ...engine.tolerances import tolerance_of
from ...errors import InputError, ParityError, printable
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.benchmarks.margins import margins_over
from ...records.fingerprints import conditions_without_fingerprint
from ...records.reading import read_run
from ...records.run import open_run
from ...storage.documents import document_differences
from ..models.gradient_model import GradientNetwork
from ..models.parity_images import parity_images
from ..runs.available_images import AvailableImages
from ..runs.resume_command import resume_command
from ..runs.run_data import differing_image
from ..runs.scored_run import ScoredRun

if TYPE_CHECKING:
    import pyarrow as pa

MOST_LINES = 10
"""How many differences are told one by one."""


@dataclass(frozen=True)
class Disagreement:
    """A photo that PyTorch and the engine's run take for different classes.

    Attributes:
        id: Of the photo.
        label: Its class.
        clean: PyTorch's class.
        engine: The engine's.
        margin: The engine's logit of its own class less that of PyTorch's.
        at_least: Whether the margin is more than that: the run has five classes of a photo.
    """

    id: str
    label: int | None
    clean: int
    engine: int
    margin: float
    at_least: bool

    @property
    def size(self) -> str:
        """The margin in words."""
        return f"{'more than ' if self.at_least else ''}{self.margin:.2g}"


def run_to_check_against(path: str | Path, spec: ModelSpec, *, role: str = "model") -> ScoredRun:
    """An engine's run of the photos, which a model's clean predictions can be compared with.

    Args:
        path: Its folder.
        spec: The model that is attacked.
        role: What it is called where there are others.

    Raises:
        InputError: If it is no run of imagenet, not finished, or of other pixels.
    """
    run = open_run(Path(path))
    if run.key.benchmark != IMAGENET.name:
        raise InputError(
            f"{_named(run)} is one of {run.key.benchmark}, and clean predictions are compared with "
            f"one of imagenet. Make it with `evaluator score {spec.asked_as} imagenet`."
        )
    differences = list(document_differences(run.key.preprocessing, spec.preprocessing))
    if differences:
        raise InputError(
            f"{_named(run)} is of other pixels: {'; '.join(differences)}. Score the photos with "
            f"the {role}, {spec.name}, as it is attacked."
        )
    scored = ScoredRun(run, IMAGENET, read_run(run, IMAGENET.conditions))
    if scored.missing:
        begun = sum(scored.records.begun.values())
        how = (
            "The command that began it continues it."
            if scored.records.empty
            else f"Complete it with: {resume_command(scored)}"
        )
        raise InputError(
            f"{_named(run)} is not finished: {begun:,} of {run.manifest.items:,} images. {how}"
        )
    return scored


class CrossCheck:
    """Compares a model's clean predictions in PyTorch with an engine's run of the same photos."""

    def __init__(
        self,
        against: ScoredRun,
        network: GradientNetwork,
        spec: ModelSpec,
        progress: Progress,
    ) -> None:
        self._network, self._spec, self._progress = network, spec, progress
        self._folder = against.run.folder
        kind = against.run.key.engine
        self._engine = " ".join(
            [kind.backend, *([kind.precision] if kind.precision != "fp32" else [])]
        )
        of_attack = network.believed
        self._tolerances = [
            tolerance_of(kind),
            *([] if of_attack.status == "reference" else [tolerance_of(network.spec)]),
        ]
        self._agreement = _agreement(against.records.provenance)
        clean = against.clean
        assert clean is not None
        self._records = clean.combine_chunks()
        self._lock = Lock()
        self._compared: set[str] = set()
        self._skipped: set[str] = set()
        self._found: dict[str, Disagreement] = {}

    @classmethod
    def of(
        cls,
        against: ScoredRun,
        network: GradientNetwork,
        spec: ModelSpec,
        *,
        items: Sequence[Item],
        generated: Mapping[str, Any] | None,
        progress: Progress,
        role: str = "model",
    ) -> "CrossCheck":
        """A comparison of a network's predictions with those of a run.

        Args:
            against: As ``run_to_check_against`` gives it.
            network: Whose predictions come from PyTorch.
            spec: Its model.
            items: The photos that will be compared.
            generated: What is said of how they were made, if they were.
            progress: Is told what differs.
            role: What the model is called where there are others.

        Raises:
            InputError: If the run is of other weights, of other photos, or lacks one.
        """
        run = against.run
        here = network.believed.loaded.weights_sha256
        if run.key.weights_sha256 != here:
            raise InputError(
                f"{_named(run)} is of other weights: they are {run.key.weights_sha256[:12]}... "
                f"there and {here[:12]}... here. Give a run of the {role}, {spec.name}, with the "
                "weights that are attacked."
            )
        if run.key.generated != generated:
            raise InputError(
                f"{_named(run)} is of other photos under the same names: their generated.json "
                "differ. Score the photos that are attacked."
            )
        check = cls(against, network, spec, progress)
        there = set(check._records["id"].to_pylist())
        lacking = [item.id for item in items if item.id not in there]
        if lacking:
            raise InputError(
                f"{_named(run)} lacks {len(lacking):,} of the {len(items):,} images that are "
                f"attacked, first {printable(lacking[0])}. Score all of them."
            )
        return check

    def compare(self, table: "pa.Table", *, kept_in: Path | None = None) -> None:
        """Compare predictions; the differences that are new are told.

        Args:
            table: Records with the columns ``id``, ``label``, ``clean`` and ``error``; skipped
                images are left out, and a photo may have several rows.
            kept_in: Where these records are already; none if they are not written yet.

        Raises:
            ParityError: If they differ by more than the bounds of parity leave room for.
        """
        with self._lock:
            found = self._differences(table)
            new = [one for one in found if one.id not in self._found]
            told = len(self._found)
            for one in new[: max(0, MOST_LINES - told)]:
                self._progress.note(self._line(one))
            self._found.update((one.id, one) for one in new)
            if fault := self._fault(found):
                self._tell_more()
                raise ParityError(self._stopped(fault, kept_in))

    def tell(self) -> None:
        """How many were compared, and how many differ."""
        self._tell_more()
        n, differ = len(self._compared), len(self._found)
        text = f"{n:,} clean predictions compared with {printable(self._folder)}: {differ:,} differ"
        if self._found:
            largest = max(self._found.values(), key=lambda one: one.margin)
            text += (
                f", the largest margin {largest.size}, where parity's bounds leave room for "
                f"{self._allowed:.2g}"
            )
        if self._skipped:
            many = "was" if len(self._skipped) == 1 else "were"
            text += f"; {len(self._skipped):,} more {many} skipped there"
        self._progress.note(f"{text}.")

    def _differences(self, table: "pa.Table") -> list[Disagreement]:
        """The photos of which the classes differ, largest margin first."""
        import pyarrow.compute as pc

        rows = table.select(["id", "label", "clean", "error"])
        rows = rows.filter(pc.is_null(rows["error"])).combine_chunks()
        rows = rows.take(pc.index_in(pc.unique(rows["id"]), value_set=rows["id"]))
        theirs = self._records.take(pc.index_in(rows["id"], value_set=self._records["id"]))
        scored = pc.is_null(theirs["error"])
        self._skipped.update(rows.filter(pc.invert(scored))["id"].to_pylist())
        rows, theirs = rows.filter(scored), theirs.filter(scored)
        self._compared.update(rows["id"].to_pylist())
        if not rows.num_rows:
            return []
        clean = rows["clean"].to_numpy()
        margins = margins_over(theirs, clean)
        found = [
            Disagreement(
                id=rows["id"][row].as_py(),
                label=rows["label"][row].as_py(),
                clean=int(clean[row]),
                engine=int(margins.likeliest[row]),
                margin=float(margins.margin[row]),
                at_least=bool(margins.at_least[row]),
            )
            for row in (margins.likeliest != clean).nonzero()[0].tolist()
        ]
        return sorted(found, key=lambda one: -one.margin)

    def _fault(self, found: Sequence[Disagreement]) -> str | None:
        """What engines within the bounds of parity cannot do."""
        if found and not found[0].margin <= self._allowed:
            worst = found[0]
            return (
                f"{printable(worst.id)} is class {worst.clean} in PyTorch and class {worst.engine} "
                f"there by {worst.size} logits, where parity's bounds leave room for "
                f"{self._allowed:.2g}"
            )
        n, differ = len(self._compared), len(self._found)
        if self._agreement is not None and too_many(differ, n, self._agreement):
            return (
                f"{differ:,} of {n:,} photos have another class there, where parity measured an "
                f"agreement of at least {self._agreement:.1%}"
            )
        return None

    def _stopped(self, fault: str, kept_in: Path | None) -> str:
        what = "nothing of these images was written"
        if kept_in is not None:
            what = f"the records that {printable(kept_in)} has already are not confirmed"
        return (
            f"PyTorch and {printable(self._folder)} contradict each other: {fault}. One of them is "
            f"of other photos, weights or classes than it says, so {what}. Measure the engine with "
            "`evaluator parity`, and score the photos again into another --out."
        )

    @cached_property
    def _allowed(self) -> float:
        return allowed_margin(self._tolerances, largest_signal(self._network, self._spec))

    def _line(self, one: Disagreement) -> str:
        label = "" if one.label is None else f" (label class {one.label})"
        return (
            f"{printable(one.id)}: PyTorch says class {one.clean}, {self._engine} class "
            f"{one.engine}, margin {one.size}{label}"
        )

    def _tell_more(self) -> None:
        more = len(self._found) - MOST_LINES
        if more > 0:
            self._progress.note(f"and {more:,} more")


def cross_check(
    against: ScoredRun | None,
    network: GradientNetwork,
    spec: ModelSpec,
    source: Source,
    items: Sequence[Item],
    progress: Progress,
    *,
    role: str = "model",
) -> CrossCheck | None:
    """The comparison of an attack with a run, if one was given.

    Args:
        against: As ``run_to_check_against`` gives it.
        network: Network that is attacked.
        spec: Its model.
        source: Source of the photos.
        items: Photos that are attacked.
        progress: Progress callback.
        role: What the model is called where there are others.

    Raises:
        InputError: If the run is of other weights, of other photos, or lacks one.
    """
    if against is None:
        return None
    check = CrossCheck.of(
        against,
        network,
        spec,
        items=items,
        generated=source.generated,
        progress=progress,
        role=role,
    )
    (condition,) = IMAGENET.conditions
    # All photos: the run may have others than those that are attacked.
    every = {condition: source.items(condition)}
    photos = AvailableImages(IMAGENET, source, every, spec.preprocessing)
    if (difference := differing_image(against.run, photos)) is not None:
        raise InputError(f"{difference}. Score the photos that are attacked.")
    if conditions_without_fingerprint(against.run):
        progress.note(
            f"{_named(against.run)} was scored by an older version, which did not record the "
            "content of its photos: they cannot be compared with those that are attacked."
        )
    return check


def largest_signal(network: GradientNetwork, spec: ModelSpec) -> float:
    """``|S|`` of parity's clean photo that has the largest, as this network sees it."""
    import numpy as np
    import torch

    from ...attacks.pgd.gradients import logits_of

    photos = parity_images(spec)
    logits = [
        logits_of(
            network.network,
            torch.from_numpy(pixels.transpose(2, 0, 1)[None] / np.float32(255)).to(
                network.device.name
            ),
        )
        for pixels in photos.data[: photos.clean]
    ]
    signal = torch.cat(logits).cpu().numpy().astype(np.float64)
    signal -= signal.mean(axis=0)
    return float(np.linalg.norm(signal, axis=1).max())


def _agreement(made: Sequence[Provenance]) -> float | None:
    """The lower end of the agreement that parity measured, the lowest of all shards."""
    measured = [one.parity.agreement_low for one in made if one.parity is not None]
    return min(measured, default=None)


def _named(run: Run) -> str:
    return f"The run to check against, {printable(run.folder)},"
