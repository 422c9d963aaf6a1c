"""Refusals of attacks are one line each."""

import pytest
import torch

from evaluator.attacks.pgd.attempts import CleanImage
from evaluator.attacks.pgd.pgd import AttackJob, run_pgd
from evaluator.contracts import Item
from evaluator.errors import EngineError, InputError
from evaluator.system.batch_limit import BatchLimit
from evaluator.tests.attacks.attacked_networks import Counted, Network, attempts_on, paper, photos
from evaluator.tests.small import one_line


class Failing(torch.nn.Module):
    """Not a number once an image is brighter than at first."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.network, self.what, self.passes = Network(), what, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        self.passes += 1
        if self.passes < 4:
            return logits
        if self.what == "gradient":  # sqrt(0) has an infinite derivative, whatever comes after
            return logits + 0 * torch.sqrt((images[:, 0, 0, :1] * 0).abs())
        logits = logits.clone()
        logits[2] = torch.nan
        return logits


@pytest.mark.parametrize("what", ["logit", "gradient"])
def test_what_is_not_finite_is_told_with_its_image_and_step(what: str) -> None:
    images = photos(Network(), 4)
    with pytest.raises(EngineError) as caught:
        attempts_on(Failing(what), images, paper(), 1e-6)
    name = images[2 if what == "logit" else 0].item.id
    # The passes: clean, start, step 1, step 2.
    assert one_line(caught).startswith(
        f"PyTorch gave a {what} that is not finite for {name} at step 2: "
    )


@pytest.mark.parametrize(("failing", "step"), [(0, 0), (4, 3)])
def test_what_is_not_finite_is_told_without_a_gradient_too(failing: int, step: int) -> None:
    class Late(Counted):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().forward(images)
            return logits * (torch.nan if len(self.passes) > failing else 1)

    images = photos(Network(), 4)
    with pytest.raises(EngineError, match=rf"a logit .* n0/0\.JPEG at step {step}:"):
        attempts_on(Late(Network()), images, paper(steps=(3,)), 1e-6)


def test_a_network_without_a_gradient_is_refused_in_one_line() -> None:
    class Detached(Network):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images.detach())

    with pytest.raises(EngineError, match="no gradient") as caught:
        attempts_on(Detached(), photos(Network(), 2), paper())
    one_line(caught)


@pytest.mark.parametrize("epsilon", [0, -0.1, 1.01, float("nan"), float("inf")])
def test_an_epsilon_that_is_none_is_refused(epsilon: float) -> None:
    job = AttackJob(Network(), epsilon, BatchLimit(4), settings=paper())
    with pytest.raises(InputError, match=r"outside \(0, 1\]") as caught:
        list(run_pgd(job, []))
    one_line(caught)


def test_an_image_without_a_label_is_refused_by_name() -> None:
    (image,) = photos(Network(), 1)
    with pytest.raises(InputError, match=r"DATA/0\.JPEG has no label"):
        attempts_on(Network(), [CleanImage(Item("0", None, "DATA/0.JPEG"), image.image)], paper())
