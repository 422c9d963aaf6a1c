"""Passes through a network of as many images as there is memory for, and what they may not give."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from ...errors import EngineError, EngineMemoryError, printable, reason_of
from ...system.batch_limit import BatchLimit
from .attempts import CleanImage
from .gradients import logits_of


def logits_in_room(
    network: nn.Module,
    images: torch.Tensor,
    names: Sequence[CleanImage],
    *,
    room: BatchLimit,
    device: str,
    note: Callable[[str], None],
) -> torch.Tensor:
    """The logits (N, C) of images; in parts where there is no memory for them at once.

    Args:
        network: Takes images.
        images: (N, 3, S, S).
        names: What each was made of: N.
        room: Becomes smaller where there was no memory.
        device: As PyTorch calls it.
        note: Callback that is given the sentence to print when the batch size becomes smaller.

    Raises:
        EngineMemoryError: If there is no memory for a single image.
    """
    parts: list[torch.Tensor] = []
    while (done := sum(len(part) for part in parts)) < len(images):
        some = images[done : done + room.size]
        try:
            parts.append(logits_of(network, some))
            continue
        except EngineMemoryError as error:
            refuse_single(len(some), names[done], device, error)
        # Outside of the handler, whose exception keeps what the pass held in memory.
        halve(room, len(some), note)
    return torch.cat(parts)


def halve(limit: BatchLimit, failed: int, note: Callable[[str], None]) -> None:
    """Go below a batch that did not fit into memory, and say so."""
    if (size := limit.halve(failed)) is not None:
        note(
            f"Out of memory with {failed} images per batch; continuing with {size}. "
            f"Use --batch-size {size} to start there."
        )


def refuse_single(count: int, image: CleanImage, device: str, error: EngineMemoryError) -> None:
    """Give up where the batch that did not fit was of one image."""
    if count == 1:
        raise EngineMemoryError(
            f"There is no memory on {device} to attack a single image, "
            f"{printable(image.item.id)}: {reason_of(error)}. Close what else uses the device, or "
            "choose another --device."
        ) from error


def check_finite(
    finite: Sequence[float],
    what: str,
    places: Sequence[tuple[CleanImage, int]],
    unit: str = "step",
) -> None:
    """Refuse to go on with what is no number.

    Args:
        finite: Whether it is one, of each image.
        what: Of what.
        places: The images, and how far each had come; 0 without an attack.
        unit: What that counts.

    Raises:
        EngineError: If one is not.
    """
    for good, (image, count) in zip(finite, places, strict=True):
        if not good:
            raise EngineError(
                f"PyTorch gave a {what} that is not finite for {printable(image.item.id)} at "
                f"{unit} {count}: no attack on such a network can be believed. Look whether its "
                "weights are sound, and whether it divides by what can be zero."
            )
