"""Models whose outputs are not ImageNet's 1000 classes in ImageNet's order.

A class file gives the class of each output. The network and the exported graph bring their logits
into ImageNet's order themselves, so that all other code sees ImageNet's classes only.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import ClassOrder, ModelSpec
from ..errors import InputError, printable, reported_as
from ..system.users_code import users_code

if TYPE_CHECKING:
    from torch import nn

IMAGENET_CLASSES = 1000
_SEPARATORS = re.compile(r"""[\s,;"']+""")
NO_CLASS = -1
"""Class index of an output that stands for none of ImageNet's classes."""


def read_class_order(path: Path, class_index: Mapping[str, int]) -> ClassOrder | None:
    """The class of each output of a model; `None` if they are in ImageNet's order.

    Args:
        path: File with one line for each output, in the order of the outputs: a WordNet id, a
            class index 0..999, or ``-`` or nothing for a class that ImageNet does not have. What
            follows a space, a comma, a semicolon or a tab is a comment, as the words in
            ``synset.txt``; quotes mean nothing.
        class_index: Class index of each WordNet id.

    Raises:
        InputError: If the file cannot be read, a line is none of these, or an ImageNet class is
            given twice or is missing.
    """
    with reported_as(f"--classes {printable(path)} cannot be read", OSError, UnicodeDecodeError):
        lines = path.read_text("utf-8-sig").splitlines()
    outputs: list[int] = []
    for number, line in enumerate(lines, start=1):
        with reported_as(f"{printable(path)}, line {number}", ValueError):
            index = _index_of_line(line, class_index)
        if index is None:
            raise InputError(
                f"{printable(path)}, line {number}: {printable(line.strip()[:40])!r} is neither a "
                "WordNet id nor a class index from 0 to 999. Expected one line for each output, "
                "and `-` for a class that ImageNet does not have."
            )
        if index != NO_CLASS and index in outputs:
            raise InputError(
                f"{printable(path)}, line {number}: the class {printable(line.strip()[:40])} is "
                f"already on line {outputs.index(index) + 1}. Expected each class once."
            )
        outputs.append(index)
    _refuse_missing(path, set(outputs), class_index)
    if outputs == list(range(IMAGENET_CLASSES)):
        return None
    return ClassOrder(tuple(outputs), str(path.absolute()))


def _index_of_line(line: str, class_index: Mapping[str, int]) -> int | None:
    """The class of a line; ``None`` if it has none.

    Raises:
        ValueError: If a number and the WordNet id after it are different classes.
    """
    if line.partition("\t")[0].strip() in ("", "-"):
        return NO_CLASS
    word, comment = [*filter(None, _SEPARATORS.split(line)), "", ""][:2]
    if word in ("", "-"):
        return NO_CLASS
    if not (word.isascii() and word.isdecimal() and int(word) < IMAGENET_CLASSES):
        return class_index.get(word)
    if class_index.get(comment, int(word)) != int(word):
        raise ValueError(
            f"{comment} is the class {class_index[comment]}, not {word}. Expected indices that "
            "count from 0, or WordNet ids without numbers."
        )
    return int(word)


def _refuse_missing(path: Path, indices: set[int], class_index: Mapping[str, int]) -> None:
    missing = [wnid for wnid, index in class_index.items() if index not in indices]
    if missing:
        raise InputError(
            f"{printable(path)} has {IMAGENET_CLASSES - len(missing)} of ImageNet's "
            f"{IMAGENET_CLASSES} classes: {len(missing)} are missing, first {missing[0]}. "
            "Errors are only comparable over all of them, so each must have an output."
        )


def in_imagenet_order(network: "nn.Module", spec: ModelSpec) -> "nn.Module":
    """The network with its logits in ImageNet's order.

    Raises:
        InputError: If it does not give one logit for each line of the class file, or, without a
            class file, for each class of ImageNet.
    """
    if spec.class_order is None and spec.own is None:
        return network
    check_outputs(output_count(network, spec), spec)
    return network if spec.class_order is None else _reordered(network, spec.class_order)


def check_outputs(count: int, spec: ModelSpec) -> None:
    """Refuse a model with another number of outputs than expected.

    Raises:
        InputError: If it differs from the lines of the class file, or from ImageNet's classes.
    """
    if spec.class_order is None and count != IMAGENET_CLASSES:
        advice = (
            "It needs one output for each class."
            if count < IMAGENET_CLASSES
            else "Give the class of each output with --classes FILE."
        )
        raise InputError(
            f"{spec.name} gives {count:,} logits, but the benchmarks have ImageNet's "
            f"{IMAGENET_CLASSES} classes. {advice}"
        )
    if spec.class_order is not None and count != len(spec.class_order.outputs):
        raise InputError(
            f"{spec.name} gives {count:,} logits, but {printable(spec.class_order.path)} has "
            f"{len(spec.class_order.outputs):,} lines. Expected one line for each output."
        )


def output_count(network: "nn.Module", spec: ModelSpec) -> int:
    """Number of logits that a network gives for one image of its crop.

    Raises:
        InputError: If it does not run, or does not give logits.
    """
    import torch

    crop_px = spec.preprocessing.crop_px
    # A network that draws random numbers leaves the caller's generator as it was.
    with (
        users_code(spec.name, f"does not run on images of {crop_px} px:"),
        torch.no_grad(),
        torch.random.fork_rng(devices=[]),
    ):
        logits = network(torch.zeros(1, 3, crop_px, crop_px))
    shape = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if not isinstance(shape, list) or len(shape) != 2 or shape[0] != 1:
        raise InputError(f"{spec.name} gives {shape} for one image, expected logits [1, classes].")
    return int(shape[1])


def _reordered(network: "nn.Module", order: ClassOrder) -> "nn.Module":
    import torch
    from torch import nn

    class InImageNetOrder(nn.Module):
        """A network whose logits are brought into ImageNet's order."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.outputs = nn.Buffer(torch.tensor(order.indices), persistent=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(images)
            return logits.index_select(1, self.outputs)

    return InImageNetOrder().eval()
