"""Options that several commands share, each written once."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from ..workflow.models.options import GraphOptions, NetworkOptions, WeightsOptions


def importable(model: str) -> str:
    """MODEL; where it is a factory, the current directory can be imported from, as by `python -m`.

    Only then: a file that happens to have a library's name should not stand in its place.
    """
    from ..exporter.factories import is_factory
    from ..exporter.zoo.table import KNOWN_PREFIXES

    if is_factory(model) and not model.startswith(KNOWN_PREFIXES):
        sys.path.insert(0, os.getcwd())
    return model


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name of `evaluator models`, torchvision:NAME, timm:NAME, your own "
        "package.module:callable or FILE.onnx, or a bundle's folder.",
        callback=importable,
    ),
]
Weights = Annotated[
    str, typer.Option(metavar="default|random|FILE", help="Where the weights come from.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of random weights.")]
CropPx = Annotated[
    int | None,
    typer.Option("--crop-px", help="Another crop than the training's; results are marked."),
]
Description = Annotated[
    Path | None,
    typer.Option(metavar="FILE.toml", help="Of your own model: its preprocessing, its classes."),
]
Classes = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="One line an output: WordNet id, class index, or - for none of ImageNet's.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(metavar="fp32|fp16|bf16", help="Of the graph's arithmetic. Default: fp32."),
]
InputKind = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="pixels|images",
        help="What the graph takes: uint8 pixels (default), or float32 images in [0, 1].",
    ),
]
_OF_WEIGHTS: dict[str, tuple[Any, object]] = {
    "weights": (Weights, "default"),
    "crop_px": (CropPx, None),
    "description": (Description, None),
    "classes": (Classes, None),
}
_OF_NETWORK = {**_OF_WEIGHTS, "seed": (Seed, 0)}
_OF_GRAPH = {**_OF_NETWORK, "precision": (Precision, None), "input_kind": (InputKind, None)}

_ADDED = {
    "WeightsOptions": _OF_WEIGHTS,
    "NetworkOptions": _OF_NETWORK,
    "GraphOptions": _OF_GRAPH,
}


def takes_model_options(
    kind: type[WeightsOptions],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator of a command that gets the options of ``kind`` as ``**options``.

    Typer reads a command's options from its signature, so they are put there.
    """
    added = {WeightsOptions: _OF_WEIGHTS, NetworkOptions: _OF_NETWORK, GraphOptions: _OF_GRAPH}[
        kind
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
            )
            for name, (hint, default) in added.items()
        ]

        @functools.wraps(command)
        def run(*args: Any, **kwargs: Any) -> None:
            command(*args, **kwargs)

        run.__signature__ = signature.replace(parameters=[*own, *parameters])  # type: ignore[attr-defined]
        run.__annotations__ = {
            **{p.name: p.annotation for p in own},
            **{name: hint for name, (hint, _) in added.items()},
        }
        del run.__wrapped__
        return run

    return decorate


Engine = Annotated[
    str | None,
    typer.Option(
        metavar="onnxruntime|openvino|torch", help="Default: the best that passes parity."
    ),
]
Device = Annotated[
    str | None, typer.Option(metavar="cpu|cuda:N", help="Default: a GPU if there is one.")
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images in a batch.")]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Classes of ImageNet's validation images that are not in class folders.",
    ),
]
OnError = Annotated[
    str,
    typer.Option(
        metavar="fail|skip",
        help="What to do with a file that cannot be read or decoded; numbers count skips.",
    ),
]
VerifyData = Annotated[
    bool,
    typer.Option(
        "--verify-data",
        help="Compare every image of an existing run with the data, not only a sample.",
    ),
]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write it as JSON; - is stdout.")
]
Words = list[str]
Corruptions = Annotated[
    Words | None,
    typer.Option(metavar="A,B,...", help="Only these now. Default: all that are there."),
]
Perturbations = Annotated[
    Words | None, typer.Option(metavar="A,B,...", help="Only these now, of ImageNet-P.")
]
Severities = Annotated[Words | None, typer.Option(metavar="1,2,...", help="Only these now.")]


def words_of(values: Sequence[str] | None, option: str) -> list[str] | None:
    """The words of an option that may be repeated, and may hold several with commas between.

    Raises:
        InputError: If the option is there and holds no word.

    Example:
        >>> words_of(["fog,snow", "frost"], "--corruptions")
        ['fog', 'snow', 'frost']
    """
    if not values:  # typer gives an empty list where the option is not there
        return None
    words = [word.strip() for value in values for word in value.split(",") if word.strip()]
    if not words:
        raise InputError(f"{option} names none. Give some with commas between, or leave it out.")
    return words


def numbers_of(values: Sequence[str] | None, option: str) -> list[int] | None:
    """The same for whole numbers.

    Raises:
        InputError: If a word is none, or there is no word.
    """
    words = words_of(values, option)
    for word in words or ():
        if not word.isdecimal():
            raise InputError(f"{option} takes whole numbers such as 1,2,3; got {word!r}.")
    return None if words is None else [int(word) for word in words]


def pixel_units(text: str, option: str) -> float:
    """A number such as 0.01, or a fraction such as 8/255.

    Raises:
        InputError: If it is neither.

    Example:
        >>> pixel_units("8/255", "--epsilon") == 8 / 255, pixel_units("4", "--epsilon")
        (True, 4.0)
    """
    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{option} takes a number such as 0.01 or 8/255; got {text!r}.") from error


def pixel_units_of(values: Sequence[str] | None, option: str) -> list[float] | None:
    """The same for several.

    Raises:
        InputError: If a word is neither, or there is no word.
    """
    words = words_of(values, option)
    return None if words is None else [pixel_units(word, option) for word in words]
