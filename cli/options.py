"""Options: how a command gets them, and those that several commands share."""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import typer

from ..errors import InputError

HelpGroup = Literal["Model", "Data", "Attack", "Optimisation", "Engine", "Output", "Options"]
GROUPS = get_args(HelpGroup)
"""Groups of options, in the order in which help shows them."""


def takes_options(*classes: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator of a command that gets the options of these classes as keywords.

    Typer reads the options of a command from its signature, so the decorator adds them there. The
    command itself names only those that it uses, without a default; the rest are its ``**options``.

    Args:
        classes: Classes whose attributes are made by ``option``, in the order of the help.
    """
    options = {
        name: inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=getattr(holder, name), annotation=kind
        )
        for holder in classes
        for name, kind in get_type_hints(holder).items()
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        arguments = [
            parameter
            for name, parameter in signature.parameters.items()
            if name not in options and parameter.kind is not parameter.VAR_KEYWORD
        ]
        parameters = [*arguments, *options.values()]
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def option(
    group: HelpGroup,
    text: str,
    *flags: str,
    default: Any = None,
    metavar: str | None = None,
    min: float | None = None,
    parse: Callable[[Any, str], Any] | None = None,
) -> Any:
    """An option: an attribute of a class for ``takes_options``, with the type that Typer reads.

    It names its group in ``rich_help_panel``. Typer itself reads that only for help that rich
    draws, which is off here since rich would be imported for it.

    Args:
        group: Group that help shows it in.
        text: Help of the option.
        flags: Names of the option. Without any, its name is that of the attribute, and a ``bool``
            also has a ``--no-`` form.
        default: Its value if it is not given; ``...`` if it must be given.
        metavar: Name of its value in help.
        min: Smallest value.
        parse: Function that converts a given value; its second argument is the option's name.
    """

    def convert(parameter: typer.CallbackParam, value: Any) -> Any:
        return value if parse is None or value is None else parse(value, parameter.opts[0])

    return typer.Option(
        default,
        *flags,
        metavar=metavar,
        min=min,
        callback=convert,
        help=text,
        rich_help_panel=group,
    )


def parse_words(values: Sequence[str], option: str) -> list[str]:
    """Words of an option that may be repeated and may hold several words with commas between.

    Raises:
        InputError: If there is no word.

    Example:
        >>> parse_words(["fog,snow", "frost"], "--corruptions")
        ['fog', 'snow', 'frost']
    """
    words = [word.strip() for value in values for word in value.split(",") if word.strip()]
    if not words:
        raise InputError(
            f"{option} is empty. Give one value, several with commas between, or omit the option."
        )
    return words


def parse_numbers(values: Sequence[str], option: str) -> list[int]:
    """Whole numbers of an option, separated like those of ``parse_words``.

    Raises:
        InputError: If there is no number, or something else.
    """
    words = parse_words(values, option)
    for word in words:
        if not word.isdecimal():
            raise InputError(f"{option} takes whole numbers such as 1,2,3; got {word!r}.")
    return [int(word) for word in words]


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


def parse_fractions(values: Sequence[str], option: str) -> list[float]:
    """Numbers or fractions of an option, separated like those of ``parse_words``.

    Raises:
        InputError: If there is no number, or something else.
    """
    return [parse_fraction(word, option) for word in parse_words(values, option)]


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


class WeightsOptions:
    """Options of commands that attack a model."""

    weights: str = option(
        "Model",
        "Where the weights come from. FILE is a checkpoint of torch.save or safetensors.",
        default="default",
        metavar="default|random|FILE",
    )
    crop_px: int | None = option(
        "Model",
        "Side of the centre crop. Default: that of training; reports mark any other.",
        metavar="PX",
    )
    test_size: bool = option(
        "Model",
        "Prepare images at the test size of timm:NAME, of which timm publishes the accuracy.",
        "--test-size",
        default=False,
    )
    description: Path | None = option(
        "Model",
        "Description of your own model: its preprocessing and its classes. For a model that is "
        "known by name, it replaces the published preprocessing; reports mark that.",
        metavar="FILE.toml",
    )
    classes: Path | None = option(
        "Model",
        "Classes of the model's outputs, one per line: a WordNet ID, a class index, or - for "
        "none of ImageNet's classes.",
        metavar="FILE",
    )
    self_check: bool = option(
        "Model",
        "Check the PyTorch network before use: the same logits each time and in any batch, in "
        "float32, and no probabilities. Without the check, numbers are marked.",
        default=True,
    )


class NetworkOptions(WeightsOptions):
    """Options of commands that run a network."""

    seed: int = option("Model", "Seed of random weights.", default=0, metavar="N", min=0)


class GraphOptions(NetworkOptions):
    """Options of commands that run a network or the graph that is exported from it."""

    precision: str | None = option(
        "Model",
        "Precision that the exported graph computes in. Default: fp32.",
        metavar="fp32|fp16|bf16",
    )
    input_kind: str | None = option(
        "Model",
        "Input of the exported graph: uint8 pixels, or float32 images in [0, 1]. Default: pixels.",
        "--input",
        metavar="pixels|images",
    )


class PlanOptions:
    """Options of a TensorRT plan."""

    tf32: bool = option(
        "Engine",
        "Whether a TensorRT plan may round float32 products to TF32.",
        default=False,
    )
    max_batch: int | None = option(
        "Engine", "Largest batch of a TensorRT plan. Default: 64.", metavar="N", min=1
    )
    opt_batch: int | None = option(
        "Engine",
        "Batch size that a TensorRT plan is optimised for. Default: the largest batch.",
        metavar="N",
        min=1,
    )
    target: str | None = option(
        "Engine",
        "Compute capability of the GPU that a TensorRT plan is built for, e.g. sm89. Only with "
        "tensorrt-rtx. Default: any GPU from Ampere on; on a machine with a Turing GPU, that GPU.",
        metavar="smNN",
    )


class EngineOptions(GraphOptions, PlanOptions):
    """Options of commands that run an engine."""


class JsonOption:
    """The file for the result, of commands that have one."""

    json: Path | None = option(
        "Output", "Write the result as JSON; - is standard output.", metavar="FILE"
    )


ENGINE = option(
    "Engine",
    "Engine that runs the model. Default: the first of these that is available and passes "
    "parity, without openvino.",
    metavar="tensorrt|tensorrt-rtx|onnxruntime|openvino|torch",
)
DEVICE = option(
    "Engine", "Device that the model runs on. Default: a GPU if there is one.", metavar="cpu|cuda:N"
)
DEVICES = option(
    "Engine",
    "Device that the model runs on, or several GPUs, with a process for each. Default: a GPU if "
    "there is one.",
    metavar="cpu|cuda:N|cuda:0,cuda:1|cuda:all",
)
BATCH_SIZE = option("Engine", "Images per batch.", metavar="N", min=1)
LABELS = option(
    "Data",
    "List with the classes of ImageNet's validation images, if they are not in class folders.",
    metavar="FILE",
)
ON_ERROR = option(
    "Data",
    "What to do with a file that cannot be read or decoded. Reports count skipped files.",
    default="fail",
    metavar="fail|skip",
)
VERIFY_DATA = option(
    "Data",
    "Compare every image with those of an existing run, not only a sample.",
    "--verify-data",
    default=False,
)
CORRUPTIONS = option(
    "Data", "Corruptions to use in this call. Default: all.", metavar="A,B,...", parse=parse_words
)
SEVERITIES = option(
    "Data",
    "Severities to use in this call. Default: 1 to 5.",
    metavar="1,2,...",
    parse=parse_numbers,
)
PERTURBATIONS = option(
    "Data",
    "Perturbations of ImageNet-P to use in this call. Default: all ten.",
    metavar="A,B,...",
    parse=parse_words,
)
