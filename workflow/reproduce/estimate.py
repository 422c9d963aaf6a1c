"""How long the steps of a plan take on this machine, measured on a few batches."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...attacks.protocols import find_protocol
from ...contracts import Progress
from ...errors import EvaluatorError
from ..attack.options import CPU_BATCH, CUDA_BATCH
from ..attack.transfer.attack import PAPERS_STEPS
from ..models.gradient_model import gradient_network
from ..models.options import ModelOptions
from ..models.resolve import resolve_model
from ..models.self_check import check_reference
from ..models.verified_engine import select_engine
from ..runs.start import images_per_second
from .parts import MAXIMIZE, TRANSFER, WHITEBOX, Scale
from .plan import PlannedStep

BATCHES = 2
MAXIMIZING_STEPS = 500


@dataclass
class Speeds:
    """Speeds of models on this machine; each is measured once.

    Attributes:
        progress: Progress callback.
    """

    progress: Progress
    _measured: dict[tuple[str, ModelOptions], float | EvaluatorError] = field(default_factory=dict)

    def scoring(self, model: ModelOptions) -> float:
        """Images per second of the engine that scores the model; exports it if needed.

        Raises:
            EvaluatorError: If it cannot be measured, for example without weights.
        """
        return self._once("score", model, self._scoring)

    def gradients(self, model: ModelOptions) -> float:
        """Forward and backward passes per second, each of one image.

        Raises:
            EvaluatorError: If it cannot be measured.
        """
        return self._once("attack", model, self._gradients)

    def _once(
        self, kind: str, model: ModelOptions, measure: Callable[[ModelOptions], float]
    ) -> float:
        key = kind, model
        if key not in self._measured:
            try:
                self._measured[key] = measure(model)
            except EvaluatorError as error:
                self._measured[key] = error
        speed = self._measured[key]
        if isinstance(speed, EvaluatorError):
            raise speed
        return speed

    def _scoring(self, model: ModelOptions) -> float:
        resolved = check_reference(resolve_model(model), self.progress)
        verified = select_engine(resolved, None, None, parity=True, progress=self.progress)
        placement = verified.loaded.placement
        with verified.loaded.open() as engine:
            batch = placement.kind.batch_size(placement.device)
            return images_per_second(engine, batch) * engine.callers

    def _gradients(self, model: ModelOptions) -> float:
        import torch

        from ...attacks.pgd.gradients import gradients_of

        resolved = check_reference(resolve_model(model), self.progress, gradients=True)
        network = gradient_network(resolved, None, parity=True, progress=self.progress)
        batch = CPU_BATCH if network.device.name == "cpu" else CUDA_BATCH
        side, device = resolved.spec.preprocessing.crop_px, network.device.torch_name
        images = torch.zeros(batch, 3, side, side, device=device)
        classes = torch.zeros(batch, dtype=torch.int64, device=device)
        losses = (find_protocol("paper").settings.losses[0],) * batch
        for position in range(1 + BATCHES):
            if position == 1:  # the first pass warms up
                start = time.monotonic()
            gradients_of(network.network, images, losses, classes).gradients.cpu()
        return BATCHES * batch / max(time.monotonic() - start, 1e-6)


def with_times(
    steps: Sequence[PlannedStep], scale: Scale, progress: Progress
) -> tuple[PlannedStep, ...]:
    """The steps with the time of what is missing, where it can be measured.

    The time of an attack is that of all steps on all images; images that need fewer end sooner.
    """
    speeds, measured = Speeds(progress), []
    sharing = Counter(planned.step.out for planned in steps if planned.is_open)
    for planned in steps:
        if not planned.is_open or planned.size is None:
            measured.append(planned)
            continue
        try:
            seconds = _seconds(planned, scale, speeds, sharing[planned.step.out])
            seconds *= 1 - planned.done
            measured.append(planned.measured(seconds))
        except EvaluatorError as error:
            measured.append(planned.measured(None, str(error)))
    return tuple(measured)


def _seconds(planned: PlannedStep, scale: Scale, speeds: Speeds, sharing: int) -> float:
    """Time of a whole step; ``sharing`` steps share its adversarial images."""
    step, size = planned.step, planned.size
    assert size is not None
    if step.work == MAXIMIZE:
        steps = scale.maximize.get("steps", MAXIMIZING_STEPS)
        return float(scale.maximized_images * steps / speeds.gradients(step.model))
    if step.work == WHITEBOX:
        settings = find_protocol("paper").settings
        steps = scale.attack.get("steps", settings.steps)[-1]
        return float(size.passes * steps / speeds.gradients(step.model))
    if step.work == TRANSFER:
        steps = scale.attack.get("steps", PAPERS_STEPS)[-1]
        making = size.passes * steps / speeds.gradients(ModelOptions(scale.source))
        return float(making / sharing + size.passes / speeds.scoring(step.model))
    return size.passes / speeds.scoring(step.model)
