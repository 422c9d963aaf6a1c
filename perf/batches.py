"""How much an attack depends on its batches in float32, where sums round otherwise in each.

A sum over another batch differs in its last bits, which can turn the sign of a gradient near zero,
and with it every later iterate. So photos are attacked at several batch sizes, with the same starts
and targets, and compared image by image: how many first hits come at another step, and how many
outcomes of the protocol's count, and of the label, are others. In float64, on small networks, none
is (``tests/attacks/test_independence.py``).

    python -m perf.batches      EfficientNet-Lite0, 10 photos, minutes
"""

from evaluator.attacks.pgd.attempts import AttemptResult
from evaluator.attacks.pgd.pgd import AttackJob, run_pgd
from evaluator.attacks.protocols import attack_settings
from evaluator.contracts import Device
from evaluator.exporter.graph.deployable import frozen_network
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.system.batch_limit import BatchLimit
from evaluator.system.malloc import keep_freed_memory

from .attack import MODEL, photos

PHOTOS = 10
BATCHES = (1, 4, 10)
EPSILONS = (0.001, 0.01)
"""At the first some images stand: where all fall, no outcome can differ."""


def main() -> None:
    """Print a line an epsilon and batch size."""
    keep_freed_memory()
    loaded = load_network(model_spec(MODEL))
    network = frozen_network(loaded, Device("cpu", "", ""))
    images = photos(loaded, PHOTOS)
    settings = attack_settings("paper", traced=0)
    for epsilon in EPSILONS:
        first: list[AttemptResult] = []
        for batch in BATCHES:
            job = AttackJob(network, epsilon, BatchLimit(batch), settings=settings)
            made = sorted(run_pgd(job, images), key=lambda attempt: attempt.item.id)
            first = first or made
            reached = sum(attempt.target_step is not None for attempt in made)
            left = sum(attempt.changed_step is not None for attempt in made)
            print(
                f"epsilon {epsilon}, batches of {batch}: {reached} targets reached, {left} labels "
                f"left; against batches of {BATCHES[0]}: {differing(first, made)}",
                flush=True,
            )


def differing(first: list[AttemptResult], other: list[AttemptResult]) -> str:
    """How many images came to something else."""
    pairs = list(zip(first, other, strict=True))
    steps = sum(
        (a.target_step, a.changed_step) != (b.target_step, b.changed_step) for a, b in pairs
    )
    targets = sum((a.target_step is None) != (b.target_step is None) for a, b in pairs)
    labels = sum((a.changed_step is None) != (b.changed_step is None) for a, b in pairs)
    return f"{steps} first hits at another step, {targets} other targets, {labels} other labels"


if __name__ == "__main__":
    main()
