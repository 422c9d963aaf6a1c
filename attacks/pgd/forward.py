"""Forward passes in batches that fit into memory, and checks of their results."""

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
    """The logits (N, C) of images; in parts if the device is out of memory for all at once.

    Args:
        network: Network of images.
        images: Images, (N, 3, S, S).
        names: Clean image of each image, for messages: N.
        room: Batch size, which gets smaller when the device is out of memory.
        device: Name of the device in PyTorch.
        note: Callback that is given the sentence to print when the batch size becomes smaller.

    Raises:
        EngineMemoryError: If a single image does not fit into memory.
    """
    parts: list[torch.Tensor] = []
    while (done := sum(len(part) for part in parts)) < len(images):
        batch = images[done : done + room.size]
        try:
            parts.append(logits_of(network, batch))
            continue
        except EngineMemoryError as error:
            refuse_single(len(batch), names[done], device, error)
        # Outside the handler, whose exception keeps what the pass held in memory.
        halve(room, len(batch), note)
    return torch.cat(parts)


def halve(limit: BatchLimit, failed: int, note: Callable[[str], None]) -> None:
    """Make the batch size smaller than a batch that did not fit into memory, and report it."""
    if (size := limit.halve(failed)) is not None:
        note(
            f"Out of memory with {failed} images per batch; continuing with {size}. "
            f"Use --batch-size {size} to start there."
        )


def refuse_single(count: int, image: CleanImage, device: str, error: EngineMemoryError) -> None:
    """Raise the error if the batch that did not fit has one image."""
    if count == 1:
        raise EngineMemoryError(
            f"{device} is out of memory for a single image, {printable(image.item.id)}: "
            f"{reason_of(error)}. Close other programs that use the device, or choose another "
            "--device."
        ) from error


def check_finite(
    finite: Sequence[float],
    noun: str,
    places: Sequence[tuple[CleanImage, int]],
    unit: str = "step",
) -> None:
    """Refuse numbers that are not finite.

    Args:
        finite: Whether the number of each image is finite.
        noun: Name of the number.
        places: Each image, and its current step; 0 without an attack.
        unit: Name of a step.

    Raises:
        EngineError: If a number is not finite.
    """
    for is_finite, (image, count) in zip(finite, places, strict=True):
        if not is_finite:
            raise EngineError(
                f"PyTorch gave a {noun} that is not finite for {printable(image.item.id)} at "
                f"{unit} {count}: an attack on such a network is not "
                "reliable. Check its weights, and whether it divides by zero."
            )
