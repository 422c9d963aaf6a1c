"""The option ``--config``, and what ``evaluator.toml`` adds to the arguments of a command."""

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import InputError, printable
from .options import importable, option

if TYPE_CHECKING:
    from ..workflow.config import Config
    from ..workflow.models.options import ModelOptions

_SOURCE = {"weights": "source_weights", "crop_px": "source_crop_px"}
"""Options of a configured model that the source of a transferred attack has, too."""


class ConfigOption:
    """The configuration, of commands that take a model or data."""

    config: Path | None = option(
        "Options",
        "Configuration with the places of data sets and names for your models. Default: "
        "evaluator.toml in the working directory, if there is one.",
        metavar="FILE",
    )


def configured(
    *, benchmark: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator of a command whose model may be named in a configuration, and its data, too.

    What the command line says wins. The command needs ``ConfigOption`` among its options.

    Args:
        benchmark: Benchmark whose data the command needs, unless it has an argument of this name;
            ``None`` if it needs no data.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_config(config: Path | None, **arguments: Any) -> None:
            from ..workflow.config import read_config

            content = read_config(config)
            _name_models(content, arguments)
            if benchmark is not None and not arguments["data"]:
                _name_data(content, arguments.get("benchmark", benchmark), arguments)
            command(**arguments)

        return with_config

    return decorate


def _name_models(config: "Config", arguments: dict[str, Any]) -> None:
    """Put the options of configured models in the place of their names."""
    if arguments.get("model") in config.models:
        entry = config.models[arguments["model"]]
        known = asdict(entry).keys() & arguments.keys()
        options = entry.updated(**{name: arguments[name] for name in known - {"model"}})
        arguments |= {name: value for name, value in asdict(options).items() if name in arguments}
        importable(options.model)
    if "models" in arguments:
        arguments["models"] = [_target(config, name) for name in arguments["models"]]
    if arguments.get("source") in config.models:
        _name_source(config, arguments)


def _target(config: "Config", name: str) -> "str | ModelOptions":
    """A target of a transferred attack: its name, or its options if it is configured."""
    if name not in config.models:
        return name
    importable(config.models[name].model)
    return config.models[name]


def _name_source(config: "Config", arguments: dict[str, Any]) -> None:
    from ..workflow.models.options import ModelOptions

    name = arguments["source"]
    entry = config.models[name]
    arguments["source"] = entry.model
    plain = asdict(ModelOptions(entry.model))
    for key, value in asdict(entry).items():
        if value == plain[key]:
            continue
        if key not in _SOURCE:
            raise InputError(
                f"{name} has {key} in {printable(config.path or '')}, which the source of a "
                f"transferred attack cannot have. Expected {' and '.join(_SOURCE)} only."
            )
        if arguments[_SOURCE[key]] == plain[key]:
            arguments[_SOURCE[key]] = value


def _name_data(config: "Config", benchmark: str, arguments: dict[str, Any]) -> None:
    """Add the place of the data, which the command line does not name."""
    if benchmark not in config.data:
        where = "evaluator.toml" if config.path is None else printable(config.path)
        raise typer.BadParameter(
            f"Missing option '--data'. Give it, or name the place in {where}: "
            f'[data] {benchmark} = "PATH".'
        )
    arguments["data"] = list(config.data[benchmark])
    if arguments.get("labels") is None and benchmark == "imagenet":
        arguments["labels"] = config.labels
