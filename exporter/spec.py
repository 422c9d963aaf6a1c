"""The ``ModelSpec`` of a user's choice of a model, before a weight is read."""

from dataclasses import replace
from pathlib import Path

from ..contracts import (
    ClassOrder,
    ModelSpec,
    NullProgress,
    PreprocessingOrigin,
    Progress,
    WeightsOrigin,
)
from ..errors import InputError, printable
from ..storage.hash_cache import remembered_sha256
from .class_order import check_outputs
from .description import CROP_PX, Description
from .factories import factory_network, is_factory, with_factory_code
from .preprocessing import chosen_preprocessing
from .ready_onnx import default_description, is_ready_onnx, ready_onnx_spec
from .weights.shards import checkpoint_sha256, folder_advice
from .zoo.rows import UNKNOWN_LICENCE, FactoryWeights, ZooModel
from .zoo.table import KNOWN_PREFIXES, MODELS, find_model


def model_spec(
    name: str,
    *,
    weights: str = "default",
    seed: int = 0,
    crop_px: int | None = None,
    test_size: bool = False,
    description: Description | None = None,
    class_order: ClassOrder | None = None,
    progress: Progress | None = None,
) -> ModelSpec:
    """The spec of a user's choice of a model.

    Args:
        name: Name of a row of the zoo, ``torchvision:NAME``, ``timm:NAME``, a factory
            (``package.module:callable``), or the path of an ONNX file.
        weights: ``default``, ``random``, or the path of a checkpoint.
        seed: Seed of random weights.
        crop_px: Another crop than the training's; the short side keeps the publisher's ratio.
        test_size: Whether to prepare images at the test size that timm publishes.
        description: Description of a user's own model; of a model that is known by name, the
            preprocessing that replaces the published one.
        class_order: Classes of the network's outputs; `None` for ImageNet's order.
        progress: Progress callback of weights that are downloaded to compute their hash.

    Raises:
        InputError: If there is no such model or file, or the crop is not possible.
        UnavailableError: If the default weights are in a package that is not installed.
    """
    _check_choices(weights, seed, crop_px)
    if test_size and (crop_px is not None or description is not None or is_ready_onnx(name)):
        raise InputError(
            "--test-size is for timm:NAME and sets the size of images: omit it, or --crop-px and "
            "--description."
        )
    if is_ready_onnx(name):
        return _onnx_spec(name, weights, description, class_order, crop_px)
    is_own = is_factory(name) and not name.startswith(KNOWN_PREFIXES)
    model = _factory_model(name, description) if is_own else find_model(name)
    origin = _weights_origin(model, weights, seed, progress or NullProgress())
    preprocessing, trained_crop_px, prepared = chosen_preprocessing(
        model, origin, description, crop_px=crop_px, test_size=test_size
    )
    spec = ModelSpec(
        name=model.name,
        architecture=model.architecture,
        weights=origin,
        preprocessing=preprocessing,
        trained_crop_px=trained_crop_px,
        classes=1000,
        source=model.source,
        licence=model.licence,
        class_order=class_order,
        prepared=prepared,
    )
    if model.outputs is not None:
        check_outputs(model.outputs, spec)
    return with_factory_code(spec, description.path) if is_own and description else spec


def _check_choices(weights: str, seed: int, crop_px: int | None) -> None:
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed {seed} is not possible; expected 0 to 2^63 - 1.")
    if seed and weights != "random":
        raise InputError(f"--seed {seed} requires --weights random.")
    if crop_px is not None and crop_px not in CROP_PX:
        raise InputError(
            f"A crop of {crop_px} px is not possible; expected {CROP_PX[0]} to {CROP_PX[-1]} px."
        )


def identity(spec: ModelSpec) -> ModelSpec:
    """The spec without what does not change the model: paths of files, source, licence, notes."""
    weights, order, own = spec.weights, spec.class_order, spec.own
    if weights.kind in ("file", "onnx"):
        weights = replace(weights, reference="")
    return replace(
        spec,
        weights=weights,
        source="",
        licence="",
        class_order=order and replace(order, path=""),
        own=own and replace(own, description=""),
        prepared=PreprocessingOrigin(),
    )


def _weights_origin(model: ZooModel, weights: str, seed: int, progress: Progress) -> WeightsOrigin:
    if weights == "default":
        return model.weights.origin(model.name, progress)
    if weights == "random":
        return WeightsOrigin("random", f"seed {seed}")
    path = Path(weights).expanduser()
    if not path.is_file():
        advice = folder_advice(path)
        raise InputError(
            f"--weights {printable(weights)} is not a file. "
            f"{advice or 'Expected a checkpoint (.pth, .safetensors), `default` or `random`.'}"
        )
    sha256 = checkpoint_sha256(path, remembered_sha256)
    return WeightsOrigin("file", str(path.absolute()), sha256)


def _onnx_spec(
    name: str,
    weights: str,
    description: Description | None,
    class_order: ClassOrder | None,
    crop_px: int | None,
) -> ModelSpec:
    path = Path(name).expanduser()
    if weights != "default":
        raise InputError(f"{printable(name)} holds its weights: omit --weights.")
    if not path.is_file():
        raise InputError(f"There is no ONNX file {printable(name)}.")
    if description is None:
        raise InputError(
            f"{printable(name)} needs a description of its input: "
            f"{printable(default_description(path).name)} beside it, or --description FILE.toml."
        )
    _own_name(description, path.stem)
    return ready_onnx_spec(path, description, class_order, crop_px)


def _factory_model(name: str, description: Description | None) -> ZooModel:
    if description is None:
        raise InputError(
            f"{name} has the form of a factory, package.module:callable, which needs "
            "--description FILE.toml with its preprocessing. Models without a description are "
            "those of `evaluator models`, torchvision:NAME and timm:NAME."
        )
    for key in ("input", "layout", "output"):
        if getattr(description, key) is not None:
            raise description.error(f"{key} is for ONNX files only, and {name} is a factory")
    return ZooModel(
        name=_own_name(description, name),
        architecture=name,
        parameters=0,
        gmac=0,
        preprocessing=description.full_preprocessing(),
        weights=FactoryWeights(name, description.trained),
        source=description.source or name,
        licence=description.licence or UNKNOWN_LICENCE,
        build=factory_network(name),
        outputs=None,
    )


def _own_name(description: Description, default: str) -> str:
    if description.name in MODELS:
        raise description.error(
            f"the name {description.name} belongs to a model of `evaluator models`, and reports "
            "would show its published numbers beside yours; choose another name"
        )
    return description.name or default
