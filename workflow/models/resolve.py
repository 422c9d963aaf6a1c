"""What the word MODEL means: a known name, a user's own code or file, or a bundle's folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

from ...contracts import ClassOrder, GraphKind, InputKind, ModelSpec, Precision, Progress, ReadyOnnx
from ...errors import InputError, printable
from ...evaluate.classes import class_index
from ...exporter.bundle import cached_bundle_folder, is_bundle, read_manifest
from ...exporter.class_order import read_class_order
from ...exporter.description import Description, read_description
from ...exporter.ready_onnx import default_description, is_ready_onnx
from ...exporter.spec import model_spec
from .options import ModelOptions


@dataclass(frozen=True)
class ResolvedModel:
    """A model, which of its graphs is meant, and where the bundle of it is or will be."""

    spec: ModelSpec
    kind: GraphKind
    folder: Path


def resolve_model(choice: ModelOptions, progress: Progress | None = None) -> ResolvedModel:
    """Understand what a user names, without reading a weight.

    Raises:
        InputError: If there is no such model, or a bundle is asked for other weights.
        UnavailableError: If the default weights are in a package that is not installed.
    """
    kind = _kind(choice)
    folder = Path(choice.model).expanduser()
    if is_bundle(folder):
        return _subject_of_bundle(choice, folder)
    if folder.is_dir() or ("/" in choice.model and not is_ready_onnx(choice.model)):
        raise InputError(
            f"{printable(folder)} is no bundle: it has no model.json. "
            "Give a name of `evaluator models`, or a folder that `evaluator export` made."
        )
    description = _description(choice)
    spec = model_spec(
        choice.model,
        weights=choice.weights,
        seed=choice.seed,
        crop_px=choice.crop_px,
        description=description,
        class_order=_class_order(choice, description),
        progress=progress,
    )
    if isinstance(spec.own, ReadyOnnx) and kind.precision != "fp32":
        raise InputError(
            f"{spec.name} is an ONNX file, whose arithmetic is taken as it is: {kind.precision} "
            "cannot be had of it. Leave out --precision, or give the network's code."
        )
    return ResolvedModel(spec, kind, cached_bundle_folder(spec, kind))


def _description(choice: ModelOptions) -> Description | None:
    """The one that is named; of an ONNX file, else the one that lies beside it."""
    if choice.description is not None:
        return read_description(Path(choice.description).expanduser())
    beside = default_description(Path(choice.model).expanduser())
    if is_ready_onnx(choice.model) and beside.is_file():
        return read_description(beside)
    return None


def _class_order(choice: ModelOptions, description: Description | None) -> ClassOrder | None:
    path = choice.classes or (description and description.classes_path)
    return read_class_order(Path(path).expanduser(), class_index()) if path else None


def _kind(choice: ModelOptions) -> GraphKind:
    precision, input_kind = choice.precision or "fp32", choice.input_kind or "pixels"
    if precision not in get_args(Precision):
        raise InputError(
            f"There is no precision {precision!r}. Expected {', '.join(get_args(Precision))}."
        )
    if input_kind not in get_args(InputKind):
        raise InputError(
            f"There is no input {input_kind!r}. Expected {' or '.join(get_args(InputKind))}."
        )
    return GraphKind(cast(Precision, precision), cast(InputKind, input_kind))


def _subject_of_bundle(choice: ModelOptions, folder: Path) -> ResolvedModel:
    if replace(choice, model="", precision=None, input_kind=None) != ModelOptions(""):
        raise InputError(
            f"{printable(folder)} is a bundle, whose weights and crop are fixed. Name the model "
            "instead, or leave out --weights, --seed, --crop-px, --description and --classes."
        )
    model = read_manifest(folder)
    asked = (choice.precision or model.precision, choice.input_kind or model.input_kind)
    if asked != (model.precision, model.input_kind):
        raise InputError(
            f"{printable(folder)} is a bundle in {model.kind}; asked for was {asked[0]}, taking "
            f"{asked[1]}. Name the model instead."
        )
    return ResolvedModel(model.spec, model.kind, folder)
