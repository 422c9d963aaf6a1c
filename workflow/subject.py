"""What the word MODEL means: a known name, a user's own code or file, or a bundle's folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from ..contracts import Bundle, ClassOrder, ModelSpec, Progress, ReadyOnnx
from ..errors import InputError, shown
from ..evaluate.classes import class_index
from ..exporter.bundle import (
    cached_bundle_folder,
    is_bundle,
    open_bundle_of,
    read_manifest,
    write_bundle,
)
from ..exporter.class_order import read_class_order
from ..exporter.description import Description, read_description
from ..exporter.ready_bundle import write_ready_bundle
from ..exporter.ready_onnx import default_description, is_ready_onnx, told_of
from ..exporter.spec import model_spec
from ..exporter.weights import load_network


@dataclass(frozen=True)
class ModelChoice:
    """How a user names a model.

    Attributes:
        model: A name of the zoo, ``torchvision:NAME``, ``timm:NAME``, a factory
            (``package.module:callable``), an ONNX file, or a bundle's folder.
        weights: ``default``, ``random`` or a checkpoint's path.
        seed: Of random weights.
        crop_px: Another crop than the training's.
        description: A TOML file on a model of the user's own.
        classes: A file that says what each output is; without it the description's, if any.
    """

    model: str
    weights: str = "default"
    seed: int = 0
    crop_px: int | None = None
    description: Path | None = None
    classes: Path | None = None


@dataclass(frozen=True)
class Subject:
    """A model, and where its bundle is or will be."""

    spec: ModelSpec
    folder: Path


def find_subject(choice: ModelChoice, progress: Progress | None = None) -> Subject:
    """Understand what a user names, without reading a weight.

    Raises:
        InputError: If there is no such model, or a bundle is asked for other weights.
        UnavailableError: If the default weights are in a package that is not installed.
    """
    folder = Path(choice.model).expanduser()
    if is_bundle(folder):
        if replace(choice, model="") != ModelChoice(""):
            raise InputError(
                f"{shown(folder)} is a bundle, whose weights and crop are fixed. Name the model "
                "instead, or leave out --weights, --seed, --crop-px, --description and --classes."
            )
        return Subject(read_manifest(folder).spec, folder)
    if folder.is_dir() or ("/" in choice.model and not is_ready_onnx(choice.model)):
        raise InputError(
            f"{shown(folder)} is no bundle: it has no model.json. "
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
    return Subject(spec, cached_bundle_folder(spec))


def _description(choice: ModelChoice) -> Description | None:
    """The one that is named; of an ONNX file, else the one that lies beside it."""
    if choice.description is not None:
        return read_description(choice.description)
    beside = default_description(Path(choice.model).expanduser())
    if is_ready_onnx(choice.model) and beside.is_file():
        return read_description(beside)
    return None


def _class_order(choice: ModelChoice, description: Description | None) -> ClassOrder | None:
    path = choice.classes or (description and description.classes_path)
    return read_class_order(path, class_index()) if path else None


def bundle_of(subject: Subject, progress: Progress) -> tuple[Bundle, bool]:
    """The subject's bundle, exported if it is not there; and whether it was exported now.

    Raises:
        InputError: If the folder holds a bundle of another model.
    """
    if is_bundle(subject.folder):
        return open_bundle_of(subject.spec, subject.folder), False
    if isinstance(subject.spec.own, ReadyOnnx):
        progress.note(f"Making a bundle of {shown(subject.spec.weights.reference)}.")
        for note in told_of(subject.spec):
            progress.note(note)
        return write_ready_bundle(subject.spec, subject.folder), True
    progress.note(f"Exporting {subject.spec.name} ({subject.spec.weights}) to ONNX.")
    return write_bundle(load_network(subject.spec, progress), subject.folder), True
