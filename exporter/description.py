"""The description of a user's own model: a small TOML file.

name = "my-model"                 # optional
channels = "bgr"                  # for a network that takes channels in the order B, G, R
input = "normalized"              # for an ONNX file: or "images" in [0, 1], or "pixels" 0..255
layout = "nchw"                   # for an ONNX file whose shape does not tell
output = "logits"                 # for an ONNX file with several outputs
trained = true                    # for a factory whose network comes with its weights
classes = "classes.txt"           # if the outputs are not ImageNet's classes; next to this file
source = "https://..."            # optional
licence = "MIT"                   # optional

[preprocessing]
resize_px = 256
crop_px = 224
interpolation = "bilinear"
mean = [0.485, 0.456, 0.406]      # R, G, B, in [0, 1] units; omitted if the graph normalises
std = [0.229, 0.224, 0.225]
"""

import json
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..contracts import ChannelOrder, Interpolation, Layout, OnnxInput, Preprocessing
from ..errors import InputError, did_you_mean, printable, reported_as

CROP_PX = range(32, 1025)

Channels = tuple[float, float, float]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True)
class DescribedPreprocessing:
    """The table ``[preprocessing]``."""

    resize_px: int
    crop_px: int
    interpolation: Interpolation
    mean: Channels | None = None
    std: Channels | None = None


@dataclass(frozen=True)
class Description:
    """A description as its file has it; the keys are explained at the top of this module.

    Attributes:
        path: Path of the TOML file.
        classes: Path of the class file; `None` if not given.
    """

    preprocessing: DescribedPreprocessing
    name: str | None = None
    input: OnnxInput | None = None
    layout: Layout | None = None
    output: str | None = None
    trained: bool = False
    classes: str | None = None
    channels: ChannelOrder = "rgb"
    source: str = ""
    licence: str = ""
    path: str = ""

    @property
    def classes_path(self) -> Path | None:
        """Path of the class file; a relative path is relative to the description's folder."""
        if self.classes is None:
            return None
        return Path(self.path).parent / Path(self.classes).expanduser()

    def full_preprocessing(self) -> Preprocessing:
        """The preprocessing that must be done outside the model.

        A graph that takes images in [0, 1] needs no mean and a standard deviation of 1; one that
        takes pixels, of 1/255.

        Raises:
            InputError: If mean and std are missing, or are given for a graph that normalises.
        """
        described = self.preprocessing
        if self.input in ("images", "pixels"):
            if described.mean or described.std:
                raise self.error(
                    f"a graph that takes {self.input} normalises by itself: omit mean and std"
                )
            mean, std = (0.0,) * 3, (1.0 if self.input == "images" else 1 / 255,) * 3
        elif described.mean is None or described.std is None:
            raise self.error("preprocessing needs mean and std, in [0, 1] units")
        else:
            mean, std = described.mean, described.std
        with reported_as(printable(self.path), InputError):
            return Preprocessing(
                described.resize_px,
                described.crop_px,
                described.interpolation,
                mean,
                std,
                self.channels,
            )

    def error(self, fault: str) -> InputError:
        """The error about one fault of this file."""
        return InputError(f"{printable(self.path)}: {fault}.")


def read_description(path: Path) -> Description:
    """Read a description.

    Raises:
        InputError: If it cannot be read, or a key is unknown, missing or has an invalid value.
    """
    with reported_as(f"The description {printable(path)} cannot be read", OSError):
        raw = path.read_bytes()
    # A ValueError is raised for invalid TOML, and for bytes that are not UTF-8.
    with reported_as(f"{printable(path)} is not a TOML file", ValueError):
        content = tomllib.loads(raw.decode())
    _refuse_unknown(path, content, Description, "")
    table = content.get("preprocessing")
    if isinstance(table, dict):
        _refuse_unknown(path, table, DescribedPreprocessing, "preprocessing.")
    description = _validated(path, content)
    _check_values(description)
    return description


def _refuse_unknown(path: Path, content: dict[str, Any], kind: type, prefix: str) -> None:
    known = [field.name for field in fields(kind) if field.name != "path"]
    elsewhere = {
        **{field.name: "above [preprocessing]" for field in fields(Description)},
        **{field.name: "below [preprocessing]" for field in fields(DescribedPreprocessing)},
    }
    for key in sorted(content.keys() - set(known)):
        if key in elsewhere and key != "path":
            place = elsewhere[key]
            raise InputError(f"{printable(path)}: the key {key} must stand {place}.")
        expected = f"Expected {', '.join(known)}."
        hint = did_you_mean(key, known, expected, (prefix + "{}").format)
        raise InputError(f"{printable(path)}: unknown key {printable(prefix + key)}. {hint}")


def _validated(path: Path, content: dict[str, Any]) -> Description:
    from pydantic import TypeAdapter, ValidationError

    try:
        # As JSON: its strict mode accepts a list for a tuple, but no text for a number.
        text = json.dumps({**content, "path": str(path.absolute())}, default=str)
        return TypeAdapter(Description).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{printable(path)}: {place}: {first['msg']}.") from error


def _check_values(description: Description) -> None:
    described, name = description.preprocessing, description.name
    if name is not None and _NAME.fullmatch(name) is None:
        raise description.error(
            f"the name {printable(name)!r} cannot be used for a folder: expected letters, digits, "
            "`.`, `_`, `+` and `-`"
        )
    if described.crop_px not in CROP_PX:
        raise description.error(
            f"a crop of {described.crop_px} px is not possible; expected {CROP_PX[0]} to "
            f"{CROP_PX[-1]} px"
        )
    mean, std = described.mean or (0.0,), described.std or (1.0,)
    if not (all(0 <= m <= 1 for m in mean) and all(0 < s <= 1 for s in std)):
        raise description.error(
            "mean and std must be in [0, 1] units: expected a mean from 0 to 1 and a std above 0 "
            "and at most 1; divide values for pixels in 0..255 by 255"
        )
