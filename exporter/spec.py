"""From what a user asks for to a ``ModelSpec``, before a weight is read."""

from dataclasses import replace
from pathlib import Path

from ..contracts import ClassOrder, ModelSpec, NullProgress, Progress
from ..errors import InputError, printable
from .class_order import check_outputs
from .description import CROP_PX, Description
from .factories import factory_network, is_factory, with_code
from .origins import weights_origin
from .ready_onnx import default_description, is_ready_onnx, ready_onnx_spec
from .zoo.rows import OfFactory, ZooModel
from .zoo.table import KNOWN_PREFIXES, MODELS, find_model


def model_spec(
    name: str,
    *,
    weights: str = "default",
    seed: int = 0,
    crop_px: int | None = None,
    description: Description | None = None,
    class_order: ClassOrder | None = None,
    progress: Progress | None = None,
) -> ModelSpec:
    """The model that these words ask for.

    Args:
        name: A row of the zoo, ``torchvision:NAME``, ``timm:NAME``, a factory
            (``package.module:callable``), or the path of an ONNX file.
        weights: ``default``, ``random``, or the path of a checkpoint.
        seed: Of random weights.
        crop_px: Another crop than the training's; the short side keeps its proportion to it.
        description: What a user says of a model of their own.
        class_order: What the network's outputs mean, where that is not ImageNet's order.
        progress: Is told of weights that must be fetched to know their hash.

    Raises:
        InputError: If there is no such model or file, or the crop makes no sense.
        UnavailableError: If the default weights are in a package that is not installed.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed {seed} is not possible; expected 0 to 2^63 - 1.")
    if seed and weights != "random":
        raise InputError(f"--seed {seed} is of random weights: use it with --weights random only.")
    if crop_px is not None and crop_px not in CROP_PX:
        raise InputError(f"A crop of {crop_px} px is not possible; expected 32 to 1024.")
    if is_ready_onnx(name):
        return _of_onnx(name, weights, description, class_order, crop_px)
    model = _asked_for(name, description)
    preprocessing = model.preprocessing
    if crop_px is not None:
        preprocessing = preprocessing.with_crop(crop_px)
    spec = ModelSpec(
        name=model.name,
        architecture=model.architecture,
        weights=weights_origin(model, weights, seed, progress or NullProgress()),
        preprocessing=preprocessing,
        trained_crop_px=model.preprocessing.crop_px,
        classes=1000,
        source=model.source,
        licence=model.licence,
        class_order=class_order,
    )
    if model.outputs is not None:
        check_outputs(model.outputs, spec)
    return spec if description is None else with_code(spec, description.path)


def identity(spec: ModelSpec) -> ModelSpec:
    """The spec without what does not change the model: where files lie, and words about it."""
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
    )


def _asked_for(name: str, description: Description | None) -> ZooModel:
    if is_factory(name) and not name.startswith(KNOWN_PREFIXES):
        return _of_factory(name, description)
    model = find_model(name)
    if description is not None:
        raise InputError(
            f"{name} is known by name, with its preprocessing: --description is for a model of "
            "your own, package.module:callable or FILE.onnx."
        )
    return model


def _of_onnx(
    name: str,
    weights: str,
    description: Description | None,
    class_order: ClassOrder | None,
    crop_px: int | None,
) -> ModelSpec:
    path = Path(name).expanduser()
    if weights != "default":
        raise InputError(f"{printable(name)} holds its weights: leave out --weights.")
    if not path.is_file():
        raise InputError(f"There is no ONNX file {printable(name)}.")
    if description is None:
        raise InputError(
            f"{printable(name)} needs a description of what it takes: "
            f"{printable(default_description(path).name)} beside it, or --description FILE.toml."
        )
    _own_name(description, path.stem)
    return ready_onnx_spec(path, description, class_order, crop_px)


def _of_factory(name: str, description: Description | None) -> ZooModel:
    if description is None:
        raise InputError(
            f"{name} is taken for a factory, package.module:callable, which needs "
            "--description FILE.toml with its preprocessing. By name there are those of "
            "`evaluator models`, torchvision:NAME and timm:NAME."
        )
    for key in ("input", "layout", "output"):
        if getattr(description, key) is not None:
            raise description.error(f"{key} is of ONNX files, and {name} is a factory")
    return ZooModel(
        name=_own_name(description, name),
        architecture=name,
        build=factory_network(name),
        weights=OfFactory(description.trained),
        preprocessing=description.full_preprocessing(),
        parameters=0,
        gmac=0,
        outputs=None,
        source=description.source or name,
        licence=description.licence or "not said",
    )


def _own_name(description: Description, otherwise: str) -> str:
    if description.name in MODELS:
        raise description.error(
            f"the name {description.name} is that of a model of `evaluator models`, beside whose "
            "published numbers yours would stand; choose another"
        )
    return description.name or otherwise
