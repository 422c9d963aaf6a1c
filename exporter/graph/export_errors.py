"""Why a network cannot be exported: what its code raises, or what ONNX lacks, and what to do."""

import re
from typing import TYPE_CHECKING

from ...contracts import GraphKind
from ...errors import EvaluatorError, InputError, printable, reason_of
from ...system.users_code import (
    exception_text,
    named,
    network_code,
    place_in_users_code,
    users_code,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

_ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NO_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='(?:\w+\.)?(\w+)'")


def export_error(
    name: str, kind: GraphKind, module: "nn.Module", example: "torch.Tensor", error: BaseException
) -> EvaluatorError:
    """The error of a network whose export failed, in one line.

    The network is run on the same input first: if its code raises an exception there, that is the
    cause, and not the export.

    Args:
        name: Name of the model.
        kind: Precision and input of the graph.
        module: Network that was to be exported.
        example: Its input.
        error: Exception of the export.
    """
    import torch

    try:
        with users_code(name), network_code(named(module, name), example), torch.no_grad():
            module(example)
    except EvaluatorError as raised:
        if kind.precision == "fp32":
            return raised
        return InputError(
            f"{name} cannot be exported in {kind.precision}: {_innermost(error)}. Use --precision "
            "fp32."
        )
    return InputError(f"{name} cannot be exported to ONNX: {_innermost(error)}. {way_out(kind)}")


def way_out(kind: GraphKind) -> str:
    """What to do with a network that runs but cannot be exported."""
    precision = "" if kind.precision == "fp32" else ", without --precision"
    return f"Score it with --engine torch{precision}."


def _innermost(error: BaseException) -> str:
    """The first cause of an exception, with its place in the user's code."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = _ANSI_COLOUR.sub("", str(error))
    if (match := _NO_OPERATOR.match(text)) is not None:
        return f"{_layer_of(match[1])} has no ONNX form"
    if type(error).__module__ == "builtins":
        return exception_text(error)
    reason = reason_of(Exception(text))
    if "data-dependent" in reason:  # of torch.export, followed by names of its symbols
        reason = "its control flow depends on the values of tensors"
    place = place_in_users_code(error)
    return f"{reason}{f' ({place})' if place else ''}"


def _layer_of(operator: str) -> str:
    """The layer of PyTorch that an operator belongs to, or else the operator.

    Example:
        >>> _layer_of("adaptive_max_pool2d"), _layer_of("special_bessel_j0")
        ('AdaptiveMaxPool2d', 'The operator special_bessel_j0')
    """
    from torch import nn

    layers = {name.lower(): name for name in vars(nn) if name[0].isupper()}
    return layers.get(operator.replace("_", ""), f"The operator {printable(operator)}")
