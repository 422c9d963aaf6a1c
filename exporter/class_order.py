"""Models whose outputs are not ImageNet's 1000 classes in ImageNet's order.

A file says what each output means; the logits are gathered by it inside the network and inside
the exported graph, so that everything behind them is in ImageNet's order.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import ClassOrder, ModelSpec
from ..errors import InputError, printable, reason_of

if TYPE_CHECKING:
    from torch import nn

IMAGENET_CLASSES = 1000
NONE = -1


def read_class_order(path: Path, index_of: Mapping[str, int]) -> ClassOrder | None:
    """What each output of a model means; none where that is ImageNet's order.

    Args:
        path: One line an output, in the order of the outputs: a WordNet id, a class index 0..999,
            or ``-`` or nothing for a class that ImageNet does not have. What follows a tab is a
            remark.
        index_of: The class index of each WordNet id.

    Raises:
        InputError: If the file cannot be read, a line is none of these, or an ImageNet class is
            there twice or not at all.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--classes {printable(path)} cannot be read: {reason_of(error)}."
        ) from error
    outputs: list[int] = []
    for number, line in enumerate(lines, start=1):
        index = _class_of(line.partition("\t")[0].strip(), index_of)
        if index is None:
            raise InputError(
                f"{printable(path)}, line {number}: {printable(line.strip()[:40])!r} is no WordNet "
                "id and no class index 0 to 999. Expected one line an output; `-` for none of "
                "these."
            )
        if index != NONE and index in outputs:
            raise InputError(
                f"{printable(path)}, line {number}: the class {printable(line.strip()[:40])} is "
                f"there already, on line {outputs.index(index) + 1}. Expected each class once."
            )
        outputs.append(index)
    _refuse_missing(path, set(outputs), index_of)
    if outputs == list(range(IMAGENET_CLASSES)):
        return None
    return ClassOrder(tuple(outputs), str(path.absolute()))


def _class_of(word: str, index_of: Mapping[str, int]) -> int | None:
    if word in ("", "-"):
        return NONE
    if word.isascii() and word.isdecimal() and int(word) < IMAGENET_CLASSES:
        return int(word)
    return index_of.get(word)


def _refuse_missing(path: Path, there: set[int], index_of: Mapping[str, int]) -> None:
    missing = [wnid for wnid, index in index_of.items() if index not in there]
    if missing:
        raise InputError(
            f"{printable(path)} has {IMAGENET_CLASSES - len(missing)} of ImageNet's "
            f"{IMAGENET_CLASSES} classes: {len(missing)} are missing, first {missing[0]}. "
            "Errors are only comparable over all of them, so each must have an output."
        )


def in_imagenet_order(network: "nn.Module", spec: ModelSpec) -> "nn.Module":
    """The network with its logits in ImageNet's order.

    Raises:
        InputError: If it does not give a logit for each line of the class file, or, without one,
            for each class of ImageNet.
    """
    if spec.class_order is None and spec.own is None:
        return network
    check_outputs(output_count(network, spec), spec)
    return network if spec.class_order is None else _gathered(network, spec.class_order)


def check_outputs(count: int, spec: ModelSpec) -> None:
    """Refuse a model that has other outputs than is said of it.

    Raises:
        InputError: If their number is not that of the class file, or of ImageNet's classes.
    """
    if spec.class_order is None and count != IMAGENET_CLASSES:
        advice = (
            "It needs an output for each of them."
            if count < IMAGENET_CLASSES
            else "Say with --classes FILE what each output means."
        )
        raise InputError(
            f"{spec.name} gives {count:,} logits, but the benchmarks have ImageNet's "
            f"{IMAGENET_CLASSES} classes. {advice}"
        )
    if spec.class_order is not None and count != len(spec.class_order.outputs):
        raise InputError(
            f"{spec.name} gives {count:,} logits, but {printable(spec.class_order.path)} has "
            f"{len(spec.class_order.outputs):,} lines. Expected one line an output."
        )


def output_count(network: "nn.Module", spec: ModelSpec) -> int:
    """How many logits a network gives for one image of its crop.

    Raises:
        InputError: If it does not run, or gives something else.
    """
    import torch

    crop_px = spec.preprocessing.crop_px
    try:
        with torch.no_grad():
            logits = network(torch.zeros(1, 3, crop_px, crop_px))
    except Exception as error:  # whatever a network raises on images that it cannot take
        raise InputError(
            f"{spec.name} does not run on images of {crop_px} px: {reason_of(error)}."
        ) from error
    shape = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if not isinstance(shape, list) or len(shape) != 2 or shape[0] != 1:
        raise InputError(f"{spec.name} gives {shape} for one image, expected logits [1, classes].")
    return int(shape[1])


def _gathered(network: "nn.Module", order: ClassOrder) -> "nn.Module":
    import torch
    from torch import nn

    class InImageNetOrder(nn.Module):
        """A network whose logits are gathered."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.outputs = nn.Buffer(torch.tensor(order.indices), persistent=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(images)
            return logits.index_select(1, self.outputs)

    return InImageNetOrder().eval()
