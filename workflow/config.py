"""``evaluator.toml``: where data sets are, and names for models of the user's own.

    [data]
    imagenet = "/data/imagenet/val"
    imagenet-c = ["/data/imagenet-c/noise.tar", "/data/imagenet-c/blur.tar"]
    labels = "/data/imagenet/val.txt"       # only if images are not in class folders

    [models.my_net]
    model = "my_package.nets:resnet"        # as MODEL on the command line
    weights = "checkpoints/net.pt"
    description = "net.toml"

The keys of a model are those of ``WeightsOptions``. Relative paths are relative to the file.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, did_you_mean, printable, reported_as
from ..evaluate.benchmarks.table import BENCHMARKS
from ..exporter.zoo.table import MODELS
from .models.options import ModelOptions, WeightsOptions

NAME = "evaluator.toml"
"""Name of the file in the working directory."""

LABELS = "labels"
_PATHS = ("description", "classes")
_WORDS = ("default", "random")


@dataclass(frozen=True)
class Config:
    """Content of the file.

    Attributes:
        path: Path of the file; ``None`` if there is none.
        data: Paths of the data of each benchmark that the file names.
        labels: List of the classes of images that are not in class folders.
        models: Options of each model that the file names.
    """

    path: Path | None = None
    data: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    labels: Path | None = None
    models: Mapping[str, ModelOptions] = field(default_factory=dict)

    def model(self, name: str) -> ModelOptions:
        """The model of that name; one that the file does not name is a MODEL of the command line.

        Example:
            >>> Config().model("resnet50").weights
            'default'
        """
        return self.models.get(name, ModelOptions(name))


def read_config(path: Path | None = None) -> Config:
    """Read a configuration.

    Args:
        path: Path of the file. If not given, ``evaluator.toml`` in the working directory, which
            need not exist.

    Raises:
        InputError: If it cannot be read, or has an unknown key or an invalid value.
    """
    if path is None:
        path = Path(NAME)
        if not path.is_file():
            return Config()
    path = path.expanduser()
    with reported_as(f"The configuration {printable(path)} cannot be read", OSError):
        raw = path.read_bytes()
    with reported_as(f"{printable(path)} is not a TOML file", ValueError):
        content = tomllib.loads(raw.decode())
    return _Reader(path).config(content)


@dataclass(frozen=True)
class _Reader:
    """Converts the content of a file.

    Attributes:
        path: Path of the file, for messages and relative paths.
    """

    path: Path

    def config(self, content: Mapping[str, Any]) -> Config:
        self._check_keys(content, ["data", "models"], "")
        data = self._table(content.get("data", {}), "data")
        models = self._table(content.get("models", {}), "models")
        self._check_keys(data, [*BENCHMARKS, LABELS], "data.")
        return Config(
            self.path,
            {key: self._places(value, key) for key, value in data.items() if key != LABELS},
            self._file(data[LABELS], f"data.{LABELS}") if LABELS in data else None,
            {name: self._model(name, options) for name, options in models.items()},
        )

    def _places(self, value: Any, key: str) -> tuple[Path, ...]:
        values = value if isinstance(value, list) and value else [value]
        return tuple(self._file(one, f"data.{key}") for one in values)

    def _model(self, name: str, options: Any) -> ModelOptions:
        place = f"models.{name}"
        table = dict(self._table(options, place))
        if name in MODELS:
            raise self._error(f"{place}: {name} is a model of this tool. Choose another name")
        self._check_keys(table, ["model", *WeightsOptions.__annotations__], f"{place}.")
        if "model" not in table:
            raise self._error(
                f"{place} needs the key model, which is what MODEL is on the command line"
            )
        for key, value in table.items():
            self._check_type(value, key, place)
            if key in _PATHS or (key == "weights" and value not in _WORDS):
                table[key] = str(self._file(value, f"{place}.{key}"))
        model = table["model"]
        if (local := self._relative(model)).exists():  # an ONNX file, or the folder of a bundle
            table["model"] = str(local)
        return ModelOptions(**table)

    def _check_type(self, value: Any, key: str, place: str) -> None:
        kinds = {"crop_px": int, "test_size": bool, "self_check": bool}
        kind = kinds.get(key, str)
        if type(value) is not kind:
            words = {int: "a whole number", bool: "true or false", str: "a text"}
            raise self._error(f"{place}.{key} must be {words[kind]}; got {value!r}")

    def _file(self, value: Any, place: str) -> Path:
        if not isinstance(value, str) or not value:
            raise self._error(f"{place} must be a path; got {value!r}")
        return self._relative(value)

    def _relative(self, value: str) -> Path:
        return self.path.parent / Path(value).expanduser()

    def _table(self, value: Any, place: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._error(f"{place} must be a table, [{place}]; got {value!r}")
        return value

    def _check_keys(self, table: Mapping[str, Any], known: list[str], prefix: str) -> None:
        for key in sorted(table.keys() - set(known)):
            hint = did_you_mean(key, known, f"Expected {', '.join(known)}.", (prefix + "{}").format)
            name = printable(prefix + key)
            raise InputError(f"{printable(self.path)}: unknown key {name}. {hint}")

    def _error(self, fault: str) -> InputError:
        return InputError(f"{printable(self.path)}: {fault}.")
