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
from .command_help import DATA, ENGINE, MODEL, OUTPUT, option

OptionTable = dict[str, tuple[Any, object]]
"""Type and default of each option, by the name of its parameter."""


def importable(model: str) -> str:
    """The MODEL itself; if it is a factory, put the current directory on the import path first.

    Only then: a file in that directory with the name of a library would hide the library.
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
        help="A name that `evaluator models` lists, torchvision:NAME, timm:NAME, your own "
        "package.module:callable or FILE.onnx, or the folder of a bundle.",
        callback=importable,
    ),
]
Weights = Annotated[
    str,
    option(
        MODEL,
        "Where the weights come from. FILE is a checkpoint of torch.save or safetensors.",
        metavar="default|random|FILE",
    ),
]
Seed = Annotated[int, option(MODEL, "Seed of random weights.", metavar="N", min=0)]
CropPx = Annotated[
    int | None,
    option(
        MODEL,
        "Side of the centre crop. Default: that of training; reports mark any other.",
        metavar="PX",
    ),
]
Description = Annotated[
    Path | None,
    option(
        MODEL,
        "Description of your own model: its preprocessing and its classes.",
        metavar="FILE.toml",
    ),
]
Classes = Annotated[
    Path | None,
    option(
        MODEL,
        "Classes of the model's outputs, one per line: a WordNet ID, a class index, or - for "
        "none of ImageNet's classes.",
        metavar="FILE",
    ),
]
Precision = Annotated[
    str | None,
    option(
        MODEL,
        "Precision that the exported graph computes in. Default: fp32.",
        metavar="fp32|fp16|bf16",
    ),
]
InputKind = Annotated[
    str | None,
    option(
        MODEL,
        "Input of the exported graph: uint8 pixels, or float32 images in [0, 1]. Default: pixels.",
        "--input",
        metavar="pixels|images",
    ),
]
WEIGHTS_OPTIONS: OptionTable = {
    "weights": (Weights, "default"),
    "crop_px": (CropPx, None),
    "description": (Description, None),
    "classes": (Classes, None),
}
_NETWORK_OPTIONS: OptionTable = {**WEIGHTS_OPTIONS, "seed": (Seed, 0)}
_GRAPH_OPTIONS: OptionTable = {
    **_NETWORK_OPTIONS,
    "precision": (Precision, None),
    "input_kind": (InputKind, None),
}


def takes_options(options: OptionTable) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator of a command that gets these options as keywords, by ``**``.

    Typer reads the options of a command from its signature, so the decorator adds them there.

    Args:
        options: Type and default of each option.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        parameters = [
            *(p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD),
            *(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
                )
                for name, (annotation, default) in options.items()
            ),
        ]

        @functools.wraps(command)
        def run(*args: Any, **kwargs: Any) -> None:
            command(*args, **kwargs)

        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        del run.__wrapped__  # Typer would read the annotations of the command itself
        return run

    return decorate


def takes_model_options(
    kind: type[WeightsOptions],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator of a command that gets the options of ``kind`` as ``**options``."""
    tables = {
        WeightsOptions: WEIGHTS_OPTIONS,
        NetworkOptions: _NETWORK_OPTIONS,
        GraphOptions: _GRAPH_OPTIONS,
    }
    return takes_options(tables[kind])


Engine = Annotated[
    str | None,
    option(
        ENGINE,
        "Engine that runs the model. Default: onnxruntime, or torch if onnxruntime is not "
        "available or fails parity.",
        metavar="onnxruntime|openvino|torch",
    ),
]
Device = Annotated[
    str | None,
    option(
        ENGINE,
        "Device that the model runs on. Default: a GPU if there is one.",
        metavar="cpu|cuda:N",
    ),
]
BatchSize = Annotated[
    int | None,
    option(ENGINE, "Images per batch.", metavar="N", min=1),
]
Labels = Annotated[
    Path | None,
    option(
        DATA,
        "List with the classes of ImageNet's validation images, if they are not in class folders.",
        metavar="FILE",
    ),
]
OnError = Annotated[
    str,
    option(
        DATA,
        "What to do with a file that cannot be read or decoded. Reports count skipped files.",
        metavar="fail|skip",
    ),
]
VerifyData = Annotated[
    bool,
    option(
        DATA,
        "Compare every image with those of an existing run, not only a sample.",
        "--verify-data",
    ),
]
Json = Annotated[
    Path | None,
    option(OUTPUT, "Write the result as JSON; - is standard output.", "--json", metavar="FILE"),
]
Words = list[str]
Corruptions = Annotated[
    Words | None,
    option(DATA, "Corruptions to use in this call. Default: all.", metavar="A,B,..."),
]
Perturbations = Annotated[
    Words | None,
    option(
        DATA,
        "Perturbations of ImageNet-P to use in this call. Default: all ten.",
        metavar="A,B,...",
    ),
]
Severities = Annotated[
    Words | None,
    option(DATA, "Severities to use in this call. Default: 1 to 5.", metavar="1,2,..."),
]


def parse_words(values: Sequence[str] | None, option: str) -> list[str] | None:
    """Words of an option that may be repeated and may hold several words with commas between.

    Returns:
        The words; ``None`` if the option is not given.

    Raises:
        InputError: If the option is given without a word.

    Example:
        >>> parse_words(["fog,snow", "frost"], "--corruptions")
        ['fog', 'snow', 'frost']
    """
    if not values:  # Typer gives an empty list for an option that is not given
        return None
    words = [word.strip() for value in values for word in value.split(",") if word.strip()]
    if not words:
        raise InputError(
            f"{option} is empty. Give one value, several with commas between, or omit the option."
        )
    return words


def parse_numbers(values: Sequence[str] | None, option: str) -> list[int] | None:
    """Whole numbers of an option, separated like those of ``parse_words``.

    Raises:
        InputError: If the option is given without a number, or with something else.
    """
    words = parse_words(values, option)
    for word in words or ():
        if not word.isdecimal():
            raise InputError(f"{option} takes whole numbers such as 1,2,3; got {word!r}.")
    return None if words is None else [int(word) for word in words]


def parse_fraction(text: str, option: str) -> float:
    """A number such as 0.01 or 8/255.

    Raises:
        InputError: If the text is neither.

    Example:
        >>> parse_fraction("8/255", "--epsilon") == 8 / 255, parse_fraction("4", "--epsilon")
        (True, 4.0)
    """
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{option} takes a number such as 0.01 or 8/255; got {text!r}.") from error


def parse_fractions(values: Sequence[str] | None, option: str) -> list[float] | None:
    """Numbers or fractions of an option, separated like those of ``parse_words``.

    Raises:
        InputError: If the option is given without a number, or with something else.
    """
    words = parse_words(values, option)
    return None if words is None else [parse_fraction(word, option) for word in words]
