"""Claims: scoring an ImageNet-C tree is faster than the usual PyTorch loop, and near the engine.

The peer is what most people write: torchvision's ImageFolder over each cell in one ConcatDataset, a
DataLoader with as many workers as cores, eager PyTorch; the best of batches of 4, 16 and 64, with
malloc tuned as the tool tunes it for itself. All sides see the same images and the same weights on
all cores, in turns within each round; a ratio is the median of the rounds' ratios. The peer
computes in float32, and so does the tool unless another precision is named, which must pass parity.

What is timed is the loop: models are loaded, bundles exported, parity is stored, runs are new. The
tool's loop begins where it says that it scores, and ends with the last Parquet file; the whole call
is told beside it. The engine alone has as many callers as in the loop, and batches decoded before.

    python -m perf.scoring                              EfficientNet-Lite0, 1,500 images a round
    python -m perf.scoring resnext101_32x8d_wsl         random weights, 160 images a round
    python -m perf.scoring efficientnet_lite0 openvino  on another engine
    python -m perf.scoring efficientnet_lite0 openvino bf16     where the processor has it
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import evaluator
from evaluator.contracts import Condition, NullProgress
from evaluator.engine.table import candidates
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.evaluate.benchmarks.table import find_benchmark
from evaluator.evaluate.layouts import CORRUPTIONS
from evaluator.evaluate.scoring import ScoringJob, decoder_pool
from evaluator.evaluate.sources.folder import FolderSource
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.system.malloc import keep_freed_memory
from evaluator.workflow.bench.timing import bed_of, engine_part, rate_of_callers
from evaluator.workflow.models.engines import prepare
from evaluator.workflow.models.options import ModelOptions
from evaluator.workflow.models.resolve import resolve_model

ROUNDS = 5
BATCHES = (4, 16, 64)
CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Claim:
    """A row of the table of claims.

    Attributes:
        weights: Of the model.
        cells: Which of ImageNet-C's are scored; twenty photos each.
        over_peer: How many times the peer's rate is claimed.
        in_bfloat16: The same in bfloat16.
        of_engine: Which share of the engine's own rate is claimed.
        engine_images: Through the engine alone, in each round.
    """

    weights: str
    cells: Sequence[Condition]
    over_peer: float
    in_bfloat16: float
    of_engine: float = 0.9
    engine_images: int = 600


SOME = tuple(c for c in CONDITIONS if c["severity"] == 3)[:8]
CLAIMS = {
    "efficientnet_lite0": Claim("default", CONDITIONS, 2.5, 4.0),
    # It does 5 to 15 images a second: fewer of them are enough, each takes as long as the last.
    "resnext101_32x8d_wsl": Claim("random", SOME, 1.1, 2.0, engine_images=80),
}


class LoopStart(NullProgress):
    """Notes when the loop begins."""

    began = 0.0

    def note(self, text: str) -> None:
        """The line that ``score`` says before its loop."""
        if text.startswith("Scoring "):
            self.began = time.perf_counter()


class Peer:
    """ImageFolder, DataLoader, eager PyTorch."""

    def __init__(self, model: str, weights: str, data: Path) -> None:
        from torchvision import transforms

        loaded = load_network(model_spec(model, weights=weights))
        preprocessing = loaded.spec.preprocessing
        self.network, self.data = loaded.network.eval(), data
        normalise = transforms.Normalize(preprocessing.mean, preprocessing.std)
        self.transform = transforms.Compose([transforms.ToTensor(), normalise])

    def seconds(self, batch: int, cells: Sequence[Condition]) -> float:
        """Of the loop over some cells."""
        import torch
        from torchvision import datasets

        folders = [self.data / str(c["corruption"]) / str(c["severity"]) for c in cells]
        together: Any = torch.utils.data.ConcatDataset(
            [datasets.ImageFolder(str(folder), self.transform) for folder in folders]
        )
        loader: Any = torch.utils.data.DataLoader(together, batch_size=batch, num_workers=CORES)
        began = time.perf_counter()
        with torch.inference_mode():
            for images, _ in loader:
                self.network(images).topk(5)
        return time.perf_counter() - began


class Ours:
    """``evaluator.score``, and its engine alone."""

    def __init__(self, model: str, claim: Claim, engine: str, precision: str, data: Path) -> None:
        self.model, self.claim, self.engine, self.data = model, claim, engine, data
        self.precision = precision
        corruptions = {str(c["corruption"]) for c in claim.cells}
        severities = sorted({int(str(c["severity"])) for c in claim.cells})
        self.cells = {
            "corruptions": [c for c in CORRUPTIONS if c in corruptions],
            "severities": severities,
        }
        result = evaluator.check_parity(
            model, weights=claim.weights, engine=engine, device="cpu", precision=precision
        )
        assert result.passed, "nothing is scored on an engine that does not agree"

    def seconds(self, out: Path) -> tuple[float, float]:
        """Of the loop, and of the whole call."""
        start, began = LoopStart(), time.perf_counter()
        evaluator.score(
            self.model,
            "imagenet-c",
            self.data,
            weights=self.claim.weights,
            engine=self.engine,
            precision=self.precision,
            device="cpu",
            out=out,
            progress=start,
            **self.cells,  # type: ignore[arg-type]
        )
        ended = time.perf_counter()
        return ended - start.began, ended - began

    def engine_alone(self, stack: ExitStack) -> Callable[[], float]:
        """What measures the engine on ready-made batches; images a second."""
        choice = ModelOptions(self.model, self.claim.weights, precision=self.precision)
        subject = resolve_model(choice)
        (place,) = candidates(self.engine, "cpu")
        engine = stack.enter_context(prepare(subject, place, NullProgress()).open())
        what, cell = find_benchmark("imagenet-c"), self.claim.cells[0]
        source = FolderSource(self.data, what.conditions)
        job = ScoringJob(
            benchmark=what,
            engine=engine,
            source=source,
            items={cell: source.items(cell)},
            preprocessing=subject.spec.preprocessing,
            batch_size=place.kind.batch_size(place.device),
            decoders=stack.enter_context(decoder_pool(engine)),
        )
        bed = bed_of(job)
        images = self.claim.engine_images // engine.callers
        return lambda: rate_of_callers(engine_part(bed, images, []), engine.callers)


def scoring(model: str, engine: str, precision: str, folder: Path) -> None:
    """One model: all sides in turns, then the verdicts."""
    claim, data = CLAIMS[model], folder / "imagenet-c"
    images = 20 * len(claim.cells)
    peer, ours = Peer(model, claim.weights, data), Ours(model, claim, engine, precision, data)
    peer.seconds(4, claim.cells[:1])  # warm
    few = claim.cells[:: max(1, len(claim.cells) // 8)]
    tried = {batch: 20 * len(few) / peer.seconds(batch, few) for batch in BATCHES}
    best = max(tried, key=lambda batch: tried[batch])
    print(f"{model}, {engine} {precision}, {CORES} cores, {images} images a round")
    print("  peer by batch: " + ", ".join(f"{b}: {rate:.1f}/s" for b, rate in tried.items()))
    over_peer, whole_over_peer, of_engine = [], [], []
    with ExitStack() as stack:
        alone = ours.engine_alone(stack)
        alone()
        for turn in range(ROUNDS):
            limit = alone()
            loop, whole = ours.seconds(folder / f"{model}-{engine}-{turn}")
            theirs = peer.seconds(best, claim.cells)
            limit = (limit + alone()) / 2
            over_peer.append(theirs / loop)
            whole_over_peer.append(theirs / whole)
            of_engine.append(images / loop / limit)
            print(
                f"  score {images / loop:.1f} images/s ({images / whole:.1f} with its start), "
                f"engine alone {limit:.1f}, peer {images / theirs:.1f} (batch {best})",
                flush=True,
            )
    claimed = claim.in_bfloat16 if precision == "bf16" else claim.over_peer
    report("score, its loop, over the peer's loop", over_peer, claimed)
    report("score, the whole call, over the peer's loop", whole_over_peer, None)
    report("score, its loop, of the engine alone", of_engine, claim.of_engine)


def report(claim: str, ratios: list[float], claimed: float | None) -> None:
    """The median ratio, its spread, and whether the claim holds."""
    middle = median(ratios)
    verdict = ""
    if claimed is not None:
        verdict = f"; at least {claimed:g}: " + ("holds" if middle >= claimed else "DOES NOT HOLD")
    print(f"{claim}: {middle:.2f}x (from {min(ratios):.2f} to {max(ratios):.2f}){verdict}")


def main(*words: str) -> None:
    """The model, engine and precision that are named, else what EfficientNet-Lite0 is scored on."""
    usual = ("efficientnet_lite0", "onnxruntime", "fp32")
    model, engine, precision = [*words, *usual[len(words) :]]
    keep_freed_memory()  # the peer gets it too, before torch is imported
    with tempfile.TemporaryDirectory() as temporary:
        os.environ.setdefault("EVALUATOR_CACHE", f"{temporary}/cache")
        folder = Path(temporary)
        evaluator.sample_photos(folder / "imagenet")
        evaluator.corrupt_photos(folder / "imagenet", folder / "imagenet-c")
        scoring(model, engine, precision, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
