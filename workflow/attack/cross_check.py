"""Cross-check of PyTorch's clean predictions with an engine's run of the same photos.

An attack classifies every photo in PyTorch before it is attacked. If a run of ``imagenet`` by an
engine is given, both are compared photo by photo; ``shards.py`` applies this to every
shard. Differences are reported with their margins. A contradiction, which engines within the bounds
of parity cannot have, ends the work before anything of its shard is written. There are two kinds
(derived in ``engine/cross_check_bounds.py``):

* a margin above ``sqrt(2) (t + t') |S|``, with t the bound of the worst image for what the engine
  computes, t' that for the PyTorch that attacks (0 if it is the reference itself), and ``|S|`` the
  largest signal among parity's own clean photos, measured on the attacked network when a first
  photo differs;
* more photos that differ, of all that were compared, than the agreement that parity measured for
  the engine leaves to chance. A run without a parity result has none, and is held to the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ...contracts import Item, ModelSpec, Progress, Run, Source, images_from_pixels
from ...engine.cross_check_bounds import allowed_margin, too_many
from ...engine.tolerances import tolerance_of
from ...errors import InputError, ParityError, printable
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.benchmarks.margins import margins_over
from ...records.fingerprints import lacks_fingerprints
from ...records.reading import read_run
from ...records.run import open_run
from ...storage.documents import document_differences
from ..models.gradient_model import GradientNetwork
from ..models.parity_images import clean_photos
from ..runs.available_images import AvailableImages
from ..runs.run_data import differing_image
from ..runs.scored_run import ScoredRun, resume_command

if TYPE_CHECKING:
    import pyarrow as pa

MOST_LINES = 10
"""Number of differences that are reported one by one."""


@dataclass(frozen=True)
class Disagreement:
    """A photo that PyTorch and the engine's run classify differently.

    Attributes:
        id: Id of the photo.
        label: True class.
        clean: Class that PyTorch predicts.
        engine: Class that the engine predicts.
        margin: The engine's logit of its own class minus that of PyTorch's class.
        at_least: Whether the margin is only a lower bound, as the run has five classes of a photo.
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

    def text(self, engine: str) -> str:
        """The difference from an engine's run, in words."""
        label = "" if self.label is None else f" (label class {self.label})"
        return (
            f"{printable(self.id)}: PyTorch predicts class {self.clean}, {engine} class "
            f"{self.engine}, margin {self.size}{label}"
        )


def run_to_check_against(path: Path, spec: ModelSpec) -> ScoredRun:
    """Open an engine's run of the photos, to compare a model's clean predictions with it.

    Args:
        path: Folder of the run.
        spec: The attacked model.

    Raises:
        InputError: If it is not a run of imagenet, is unfinished, or has other preprocessing.
    """
    run = open_run(path)
    if run.key.benchmark != IMAGENET.name:
        raise InputError(
            f"{_title(run)} is one of {run.key.benchmark}, but a run of imagenet is needed. Make "
            f"it with `evaluator score {spec.asked_as} imagenet`."
        )
    differences = list(document_differences(run.key.preprocessing, spec.preprocessing))
    if differences:
        raise InputError(
            f"{_title(run)} has other preprocessing: {'; '.join(differences)}. Score the photos "
            f"with the attacked model, {spec.name}, with the same preprocessing."
        )
    scored = ScoredRun(run, IMAGENET, read_run(run, IMAGENET.conditions))
    if scored.missing:
        done = sum(scored.records.begun.values())
        advice = (
            "The command that began it continues it."
            if scored.records.empty
            else f"Complete it with: {resume_command(scored)}"
        )
        raise InputError(
            f"{_title(run)} is not finished: {done:,} of {run.manifest.items:,} images. {advice}"
        )
    return scored


class CrossCheck:
    """Compares a model's clean predictions in PyTorch with an engine's run of the same photos.

    Args:
        against: Run from ``run_to_check_against``.
        network: Network of the attacked model.
        spec: The attacked model.
        progress: Progress callback.

    Raises:
        InputError: If the run has other weights.
    """

    def __init__(
        self, against: ScoredRun, network: GradientNetwork, spec: ModelSpec, progress: Progress
    ) -> None:
        self._run, self._network, self._spec = against.run, network, spec
        self._progress, self._folder = progress, printable(against.run.folder)
        key, weights_sha256 = against.run.key, network.verified.loaded.weights_sha256
        if key.weights_sha256 != weights_sha256:
            raise InputError(
                f"{_title(self._run)} has other weights: {key.weights_sha256[:12]}..., not "
                f"{weights_sha256[:12]}... Give a run of the attacked model, {spec.name}, with "
                "the same weights."
            )
        self._engine = key.engine.backend
        if key.engine.precision != "fp32":
            self._engine += f" {key.engine.precision}"
        self._tolerances = [tolerance_of(key.engine)]
        if network.verified.status != "reference":
            self._tolerances.append(tolerance_of(network.spec))
        parities = [provenance.parity for provenance in against.records.provenance]
        measured = [parity.agreement_low for parity in parities if parity is not None]
        self._agreement = min(measured, default=None)
        assert against.clean is not None
        self._records = against.clean.combine_chunks()
        self._lock = Lock()
        self._compared: set[str] = set()
        self._skipped: set[str] = set()
        self._disagreements: dict[str, Disagreement] = {}

    def check_photos(self, source: Source, items: Sequence[Item]) -> None:
        """Check that the run is of the photos that are attacked.

        Args:
            source: Source of the photos, which may have others as well.
            items: Photos that are attacked.

        Raises:
            InputError: If the run has other photos, or lacks one.
        """
        run = self._run
        if run.key.generated != source.generated:
            raise InputError(
                f"{_title(run)} has other photos under the same names: their generated.json files "
                "differ. Score the photos that are attacked."
            )
        scored = set(self._records["id"].to_pylist())
        missing = [item.id for item in items if item.id not in scored]
        if missing:
            raise InputError(
                f"{_title(run)} lacks {len(missing):,} of the {len(items):,} images that are "
                f"attacked, first {printable(missing[0])}. Score all of them."
            )
        # All photos: the run may have others than the attacked ones.
        photos = {condition: source.items(condition) for condition in IMAGENET.conditions}
        available = AvailableImages(IMAGENET, source, photos, self._spec.preprocessing)
        if (difference := differing_image(run, available)) is not None:
            raise InputError(f"{difference}. Score the photos that are attacked.")
        if lacks_fingerprints(run):
            self._progress.note(
                f"{_title(run)} was scored by an older version, which did not record the content "
                "of its photos, so it cannot be compared with that of the attacked photos."
            )

    def compare(self, table: "pa.Table", *, kept_in: Path | None = None) -> None:
        """Compare predictions, and report new differences.

        Args:
            table: Records with the columns ``id``, ``label``, ``clean`` and ``error``; skipped
                images are left out, and a photo may have several rows.
            kept_in: Folder of the records; ``None`` if they are not written yet.

        Raises:
            ParityError: If they differ by more than the bounds of parity allow.
        """
        with self._lock:
            differences = self._differences(table)
            for difference in differences:
                if difference.id not in self._disagreements:
                    if len(self._disagreements) < MOST_LINES:
                        self._progress.note(difference.text(self._engine))
                    self._disagreements[difference.id] = difference
            if contradiction := self._contradiction(differences):
                self._report_rest()
                raise ParityError(self._error_text(contradiction, kept_in))

    def report(self) -> None:
        """Report how many predictions were compared, and how many differ."""
        self._report_rest()
        n, differ = len(self._compared), len(self._disagreements)
        text = f"{n:,} clean predictions compared with {self._folder}: {differ:,} differ"
        if self._disagreements:
            largest = max(self._disagreements.values(), key=lambda difference: difference.margin)
            text += (
                f", the largest margin {largest.size}, where parity's bounds allow "
                f"{self._allowed:.2g}"
            )
        if self._skipped:
            verb = "was" if len(self._skipped) == 1 else "were"
            text += f"; {len(self._skipped):,} more {verb} skipped in that run"
        self._progress.note(f"{text}.")

    def _differences(self, table: "pa.Table") -> list[Disagreement]:
        """Photos with different classes, largest margin first."""
        import pyarrow.compute as pc

        rows = table.select(["id", "label", "clean", "error"])
        rows = rows.filter(pc.is_null(rows["error"])).combine_chunks()
        rows = rows.take(pc.index_in(pc.unique(rows["id"]), value_set=rows["id"]))
        engine_rows = self._records.take(pc.index_in(rows["id"], value_set=self._records["id"]))
        scored = pc.is_null(engine_rows["error"])
        self._skipped.update(rows.filter(pc.invert(scored))["id"].to_pylist())
        rows, engine_rows = rows.filter(scored), engine_rows.filter(scored)
        self._compared.update(rows["id"].to_pylist())
        if not rows.num_rows:
            return []
        clean = rows["clean"].to_numpy()
        margins = margins_over(engine_rows, clean)
        differences = [
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
        return sorted(differences, key=lambda difference: -difference.margin)

    def _contradiction(self, differences: Sequence[Disagreement]) -> str | None:
        """A difference that engines within the bounds of parity cannot have."""
        if differences and not differences[0].margin <= self._allowed:
            worst = differences[0]
            return (
                f"{printable(worst.id)} is class {worst.clean} in PyTorch and class {worst.engine} "
                f"in the run by {worst.size} logits, where parity's bounds allow "
                f"{self._allowed:.2g}"
            )
        n, differ = len(self._compared), len(self._disagreements)
        if self._agreement is not None and too_many(differ, n, self._agreement):
            return (
                f"{differ:,} of {n:,} photos have another class in the run, where parity measured "
                f"an agreement of at least {self._agreement:.1%}"
            )
        return None

    def _error_text(self, contradiction: str, kept_in: Path | None) -> str:
        consequence = "nothing of these images was written"
        if kept_in is not None:
            consequence = f"the records in {printable(kept_in)} are not confirmed"
        return (
            f"PyTorch and {self._folder} contradict each other: {contradiction}. One of "
            f"them has other photos, weights or classes than recorded, so {consequence}. Measure "
            "the engine with `evaluator parity`, and score the photos again into another --out."
        )

    @cached_property
    def _allowed(self) -> float:
        """The largest margin that the bounds of parity allow."""
        import numpy as np
        import torch

        from ...attacks.pgd.gradients import logits_of

        device = self._network.device.torch_name
        logits = [
            logits_of(
                self._network.network,
                torch.from_numpy(images_from_pixels(pixels[None])).to(device),
            )
            for _, pixels in clean_photos(self._spec.preprocessing)
        ]
        signal = torch.cat(logits).cpu().numpy().astype(np.float64)
        signal -= signal.mean(axis=0)
        largest_signal = float(np.linalg.norm(signal, axis=1).max())
        return allowed_margin(self._tolerances, largest_signal)

    def _report_rest(self) -> None:
        more = len(self._disagreements) - MOST_LINES
        if more > 0:
            self._progress.note(f"and {more:,} more")


def _title(run: Run) -> str:
    return f"The run to check against, {printable(run.folder)},"
