"""The losses against formulas by hand, where logits are equal, and where there are few."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluator.attacks.pgd.gradients import gradients_of
from evaluator.attacks.pgd.losses import dlr, losses_of, margins
from evaluator.contracts import AttackLoss
from evaluator.errors import InputError


def dlr_by_hand(logits: list[float], label: int) -> float:
    """Equation 5 of Croce & Hein, word for word."""
    ranked = sorted(logits, reverse=True)
    others = [logit for number, logit in enumerate(logits) if number != label]
    return -(logits[label] - max(others)) / (ranked[0] - ranked[2])


@given(
    logits=st.lists(st.integers(-999, 999), min_size=3, max_size=8, unique=True),
    which=st.integers(0, 7),
)
def test_dlr_is_its_formula(logits: list[int], which: int) -> None:
    numbers, label = [logit / 100 for logit in logits], which % len(logits)
    found = dlr(torch.tensor([numbers], dtype=torch.float64), torch.tensor([label]))
    assert found.item() == pytest.approx(dlr_by_hand(numbers, label))


def test_dlr_keeps_its_value_when_logits_are_scaled_or_shifted() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.5, -4.0]], dtype=torch.float64)
    labels = torch.tensor([0])
    assert dlr(logits * 1000 + 7, labels).item() == pytest.approx(dlr(logits, labels).item())


def test_dlr_is_negative_where_the_label_is_likeliest_and_positive_where_not() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [1.0, 3.0, 2.0]])
    assert dlr(logits, torch.tensor([0, 0])).sign().tolist() == [-1, 1]


@pytest.mark.parametrize("logits", [[5.0, 5, 5, 5], [5.0, 5, 5, 1], [1.0, 5, 5, 5], [5.0, 5, 1, 0]])
@pytest.mark.parametrize("label", [0, 1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_logits_give_finite_losses_and_gradients(
    logits: list[float], label: int, dtype: torch.dtype
) -> None:
    given_logits = torch.tensor([logits], dtype=dtype, requires_grad=True)
    loss = dlr(given_logits, torch.tensor([label]))
    (gradient,) = torch.autograd.grad(loss.sum(), given_logits)
    assert loss.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient[0, label] < 0  # the loss rises as the label's logit falls


def test_two_classes_give_the_margin_and_its_gradient() -> None:
    logits = torch.tensor([[3.0, 1.0], [1.0, 4.0]], requires_grad=True)
    loss = dlr(logits, torch.tensor([0, 0]))
    assert loss.tolist() == [-2, 3]
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.tolist() == [[-1, 1], [-1, 1]]


def test_a_margin_is_to_the_largest_other_logit_whatever_the_signs() -> None:
    logits = torch.tensor([[-1.0, -3.0, -2.0], [2.0, 5.0, 4.0], [1.0, 1.0, 0.0]])
    assert margins(logits, torch.tensor([0, 2, 0])).tolist() == [1, -1, 0]


def test_a_single_class_is_refused() -> None:
    with pytest.raises(InputError, match="single class"):
        gradients_of(torch.nn.Linear(3, 1), torch.zeros(1, 3), ["dlr"], torch.tensor([0]))


def test_cross_entropy_is_minus_the_logarithm_of_the_probability() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]], dtype=torch.float64)
    found = losses_of("cross_entropy", logits, torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([math.log(4), math.log(2)])


def test_each_row_of_a_batch_has_the_loss_that_it_is_given() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5)).double()
    images = torch.rand(4, 3, 2, 2, dtype=torch.float64)
    classes = torch.tensor([0, 1, 2, 3])
    names: list[AttackLoss] = ["dlr", "cross_entropy", "cross_entropy", "dlr"]
    mixed = gradients_of(network, images, names, classes)
    for row, name in enumerate(names):
        alone = gradients_of(network, images[row : row + 1], [name], classes[row : row + 1])
        torch.testing.assert_close(mixed.losses[row], alone.losses[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(mixed.gradients[row], alone.gradients[0], rtol=1e-9, atol=1e-15)
    assert not mixed.losses.requires_grad


def test_a_gradient_leaves_no_trace_on_the_network_or_on_torch() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5))
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    images = torch.rand(2, 3, 2, 2)
    with torch.no_grad():  # a caller's own setting does not matter
        gradients_of(network, images, ["dlr", "dlr"], torch.tensor([0, 1]))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not images.requires_grad
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == before


def test_float32_is_exact_while_the_network_computes() -> None:
    seen: list[tuple[bool, ...]] = []

    class Noting(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
            seen.append((cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic))
            return images.flatten(1)

    gradients_of(Noting(), torch.rand(1, 3, 2, 2), ["dlr"], torch.tensor([0]))
    assert seen == [(False, False, True)]
