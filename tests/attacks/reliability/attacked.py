"""Records of attacks, written by hand or made by the smallest loop that attacks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn.functional import cross_entropy

from evaluator.attacks.reliability import AttackAssessment, Diagnostic, assess_attack
from evaluator.contracts import AttackLoss, AttackSettings, ProtocolName, Success

Row = dict[str, Any]
STEPS = 50
EPSILON = 0.01
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int32()),
        ("error", pa.string()),
        ("restart", pa.int16()),
        ("loss_name", pa.string()),
        ("clean", pa.int32()),
        ("target", pa.int32()),
        ("target_step", pa.int32()),
        ("changed_step", pa.int32()),
        ("last", pa.int32()),
        ("steps", pa.int32()),
        ("traced", pa.bool_()),
        ("linf", pa.float32()),
        ("l2", pa.float32()),
        ("loss", pa.list_(pa.float32())),
        ("gradient_norm", pa.list_(pa.float32())),
        ("zero_share", pa.float32()),
        ("dead_steps", pa.int32()),
        ("at_bound", pa.float32()),
        ("turned", pa.float32()),
    ]
)
PROBE_COLUMNS = ["id", "label", "clean", "changed_step"]


@dataclass(frozen=True)
class Asked(AttackSettings):
    """Untargeted, two restarts with one loss, the step of the standard protocol; any counts."""

    protocol: ProtocolName = "standard"
    losses: tuple[AttackLoss, ...] = ("cross_entropy",)
    targeted: bool = False
    success: Success = "untargeted"
    steps: tuple[int, ...] = (STEPS,)
    relative_step: float | None = 2.5
    restarts: int = 2

    def __post_init__(self) -> None:
        """Several counts may share a step that depends on their number."""


def attempt(image: int, hit: int | None = None, **changes: Any) -> Row:
    """A sound search: its loss rests after 20 of 50 steps, its pixels end at the bound."""
    row: Row = {
        "id": f"{image:04}",
        "label": 0,
        "restart": 0,
        "loss_name": "cross_entropy",
        "clean": 0,
        "changed_step": hit,
        "last": 0 if hit is None else 1,
        "steps": STEPS,
        "traced": True,
        "loss": np.minimum(np.arange(STEPS), 20.0),
        "gradient_norm": np.ones(STEPS),
        "zero_share": 0.0,
        "dead_steps": 0,
        "at_bound": 0.9,
        "turned": 0.05,
    }
    return row | changes


def records(rows: Iterable[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def attacked(
    fell: int = 300,
    images: int = 400,
    changes: Row | None = None,
    changed: range = range(300, 340),
) -> list[Row]:
    """The first images fell, in one of the first 20 steps; the others stand after two restarts.

    What ``changes`` says is so of the attempts on the images that are ``changed``.
    """
    hits = [attempt(image, 1 + image % 20) for image in range(fell)]
    standing = [
        attempt(image, restart=restart) for image in range(fell, images) for restart in (0, 1)
    ]
    rows = hits + standing
    chosen = {f"{image:04}" for image in changed} if changes else set()
    return [row | (changes or {}) if row["id"] in chosen else row for row in rows]


def probe(fooled: Iterable[int], images: int = 400) -> pa.Table:
    """An extra run that fooled these images."""
    these = set(fooled)
    rows = (attempt(image, 1 if image in these else None) for image in range(images))
    return records(rows).select(PROBE_COLUMNS)


Network = Callable[[torch.Tensor], torch.Tensor]


def pgd(
    network: Network,
    images: torch.Tensor,
    labels: torch.Tensor,
    epsilon: float,
    *,
    asked: Asked,
) -> pa.Table:
    """Untargeted PGD from random starts, every attempt with all steps, as records."""
    tables = [
        _one_restart(network, images, labels, epsilon, restart, asked)
        for restart in range(asked.restarts)
    ]
    return pa.concat_tables(tables)


def _one_restart(
    network: Network,
    images: torch.Tensor,
    labels: torch.Tensor,
    epsilon: float,
    restart: int,
    asked: Asked,
) -> pa.Table:
    steps = asked.steps[-1]
    step = asked.step_size or (asked.relative_step or 0) * epsilon / steps
    generator = torch.Generator().manual_seed(restart)
    start = epsilon * (2 * torch.rand(images.shape, generator=generator) - 1)
    current = (images + start).clamp(0, 1)
    with torch.no_grad():
        predicted = [network(images).argmax(1)]
    losses, gradients = [], []
    for _ in range(steps):
        current.requires_grad_(True)
        loss = cross_entropy(network(current), labels, reduction="none")
        (gradient,) = torch.autograd.grad(loss.sum(), current)
        losses.append(loss.detach())
        gradients.append(gradient)
        moved = current.detach() + step * gradient.sign()
        current = (images + (moved - images).clamp(-epsilon, epsilon)).clamp(0, 1)
        with torch.no_grad():
            predicted.append(network(current).argmax(1))
    return _records(images, labels, epsilon, restart, current, predicted, losses, gradients)


def _records(
    images: torch.Tensor,
    labels: torch.Tensor,
    epsilon: float,
    restart: int,
    current: torch.Tensor,
    predicted: Sequence[torch.Tensor],
    losses: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
) -> pa.Table:
    classes, grads = torch.stack(list(predicted)), torch.stack(list(gradients)).flatten(2)
    away, zero = classes != labels, (grads == 0).float().mean(2)
    signs = grads.sign()
    pinned = ((current - images).abs() >= epsilon - 1e-6) | (current <= 0) | (current >= 1)
    columns = {
        "label": labels,
        "clean": classes[0],
        "last": classes[-1],
        "loss": torch.stack(list(losses)).T,
        "gradient_norm": grads.norm(dim=2).T,
        "zero_share": zero.mean(0),
        "dead_steps": (zero == 1).sum(0),
        "at_bound": pinned.flatten(1).float().mean(1),
        "turned": (signs[1:] * signs[:-1] < 0).float().mean((0, 2)),
    }
    lists = {name: column.tolist() for name, column in columns.items()}
    hits = [
        int(first) if any_ else None
        for first, any_ in zip(away.int().argmax(0), away.any(0), strict=True)
    ]
    made = {"restart": restart, "steps": len(losses)}
    return records(
        attempt(i, hits[i]) | made | {name: lists[name][i] for name in lists}
        for i in range(len(images))
    )


def noise(
    network: Network, images: torch.Tensor, labels: torch.Tensor, epsilon: float, draws: int = 100
) -> pa.Table:
    """Random corners of the ball, as a probe."""
    generator = torch.Generator().manual_seed(7)
    clean = network(images).argmax(1).tolist()
    fooled = torch.zeros(len(images), dtype=torch.bool)
    for _ in range(draws):
        corner = torch.randint(0, 2, images.shape, generator=generator) * 2 - 1
        fooled |= network((images + epsilon * corner).clamp(0, 1)).argmax(1) != labels
    rows = [
        attempt(i, 1 if is_so else None, label=int(labels[i]), clean=clean[i])
        for i, is_so in enumerate(fooled.tolist())
    ]
    return records(rows).select(PROBE_COLUMNS)


def of(table: pa.Table, asked: Asked | None = None, steps: int | None = None) -> AttackAssessment:
    """The judgement of one table at ``EPSILON``."""
    return assess_attack(asked or Asked(), {EPSILON: table}, steps=steps)


def named(trust: AttackAssessment, name: str) -> Diagnostic:
    """The one diagnostic of that name."""
    (found,) = [d for d in trust.diagnostics if d.name == name]
    return found


def at(trust: AttackAssessment, epsilon: float) -> AttackAssessment:
    """The judgement by diagnostics of one epsilon, and by those of all epsilons."""
    these = tuple(d for d in trust.diagnostics if d.epsilon in (None, epsilon))
    return replace(trust, diagnostics=these)
