"""The normalisation that a checkpoint brings: a mean and a standard deviation beside the weights.

robustness saves ``normalizer.new_mean`` and ``new_std``, RobustBench ``normalize.mean`` and ``std``
or ``mu`` and ``sigma``. Images are normalised before the network here, with the numbers of the
model's preprocessing, so both must be the same; numbers for pixels in 0..255 mean the same.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ...contracts import Preprocessing
from ...errors import InputError, printable

if TYPE_CHECKING:
    import torch
    from torch import nn

_MEAN = re.compile(r"((?:\w+_|_)?)(means?|mus?)")
_STD = {"mean": ("std", "sd"), "means": ("stds", "sds"), "mu": ("sigma",), "mus": ("sigmas",)}

_ZERO, _ONE = (0.0,) * 3, (1.0,) * 3


class Normalisation(NamedTuple):
    """Names of a mean and its standard deviation in a checkpoint."""

    mean: str
    std: str


def find_normalisations(tensors: Mapping[str, Any]) -> list[Normalisation]:
    """Pairs of tensors of one value, or one for each channel, that are named mean and std.

    Example:
        >>> import torch
        >>> find_normalisations({"0.mean": torch.zeros(3), "0.std": torch.ones(3)})
        [Normalisation(mean='0.mean', std='0.std')]
    """
    pairs = []
    for name in tensors:
        parent, dot, last = name.rpartition(".")
        match = _MEAN.fullmatch(last)
        if match is None or not _has_channels(tensors[name]):
            continue
        for word in _STD[match[2]]:
            std = f"{parent}{dot}{match[1]}{word}"
            if std in tensors and _has_channels(tensors[std]):
                pairs.append(Normalisation(name, std))
    return pairs


def _has_channels(value: Any) -> bool:
    import torch
    from torch.nn.parameter import is_lazy

    if not isinstance(value, torch.Tensor) or is_lazy(value):
        return False
    return value.is_floating_point() and value.numel() in (1, 3)


def refuse_other_normalisation(
    fault: str,
    normalisations: list[Normalisation],
    tensors: Mapping[str, Any],
    expected: Preprocessing,
) -> None:
    """Refuse a checkpoint that was trained with another normalisation than the model's.

    Args:
        fault: Start of the error: which weights do not fit.
        normalisations: Normalisations in the checkpoint.
        tensors: Tensors of the checkpoint.
        expected: Preprocessing of the model.

    Raises:
        InputError: If a number differs by more than the rounding of the checkpoint's precision.
    """
    for pair in normalisations:
        mean, std = tensors[pair.mean], tensors[pair.std]
        if not any(
            _equal(mean, _times(expected.mean, scale)) and _equal(std, _times(expected.std, scale))
            for scale in (1, 255)
        ):
            raise InputError(
                f"{fault}: the checkpoint holds its own normalisation, {printable(pair.mean)} "
                f"{_numbers(mean)} and {printable(pair.std)} {_numbers(std)}, but the model's are "
                f"mean {_numbers(expected.mean)} and std {_numbers(expected.std)}. "
                f"{_advice(expected)}"
            )


def applied_normalisation(network: "nn.Module", given: Preprocessing) -> Preprocessing:
    """The preprocessing with the mean and std of a network that normalises by itself.

    Args:
        network: The network, which may hold them in buffers.
        given: Preprocessing of the model; if it normalises, the network is taken not to.
    """
    tensors = _all_tensors(network)
    pairs = find_normalisations(tensors) if is_identity(given) else []
    if len(pairs) != 1:
        return given
    mean, std = (tensors[name].detach().flatten().expand(3).tolist() for name in pairs[0])
    return replace(given, mean=tuple(mean), std=tuple(std))


def _all_tensors(network: "nn.Module") -> "dict[str, torch.Tensor]":
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def second_normalisation(network: "nn.Module", expected: Preprocessing) -> str:
    """A warning if a network seems to normalise images that were normalised; else empty."""
    tensors = _all_tensors(network)
    for pair in find_normalisations(tensors):
        mean, std = tensors[pair.mean], tensors[pair.std]
        if not is_identity(expected) and not (_equal(mean, _ZERO) and _equal(std, _ONE)):
            return (
                f"The network has a normalisation of its own, {printable(pair.mean)} "
                f"{_numbers(mean)} and {printable(pair.std)} {_numbers(std)}, and is given images "
                f"that were normalised with mean {_numbers(expected.mean)} and std "
                f"{_numbers(expected.std)}. If it normalises them, describe it with mean 0 and "
                "std 1."
            )
    return ""


def _times(numbers: tuple[float, ...], scale: int) -> tuple[float, ...]:
    return tuple(number * scale for number in numbers)


def is_identity(preprocessing: Preprocessing) -> bool:
    """Whether images stay as they are, for a network that may normalise by itself."""
    return preprocessing.mean == _ZERO and preprocessing.std == _ONE


def _advice(expected: Preprocessing) -> str:
    if is_identity(expected):
        return "If the network normalises by itself, keep its mean and std as buffers."
    return (
        "Describe the model with the checkpoint's mean and std, or give a factory that normalises "
        "by itself, with mean 0 and std 1."
    )


def _equal(stored: "torch.Tensor", expected: tuple[float, ...]) -> bool:
    """Whether numbers are the expected ones, as they are rounded in the stored precision."""
    import torch

    rounded = torch.tensor(expected, dtype=torch.float64).to(stored.dtype)
    values = stored.detach().flatten().expand(3)
    return torch.allclose(values.double(), rounded.double(), rtol=1e-6, atol=0)


def _numbers(values: "torch.Tensor | tuple[float, ...]") -> str:
    numbers = values if isinstance(values, tuple) else values.detach().flatten().tolist()
    return ", ".join(f"{number:.6g}" for number in numbers)
