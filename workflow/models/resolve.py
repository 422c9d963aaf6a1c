"""Resolving the model that a user names: a known name, code, an ONNX file, or a bundle's folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

from ...contracts import (
    FLOAT32_PIXELS,
    ClassOrder,
    GraphKind,
    InputKind,
    ModelSpec,
    NetworkFingerprint,
    Precision,
    Progress,
    SelfCheck,
)
from ...errors import InputError, printable
from ...evaluate.classes import class_index
from ...exporter.bundle import cached_bundle_folder, is_bundle, read_manifest
from ...exporter.class_order import read_class_order
from ...exporter.description import Description, read_description
from ...exporter.ready_onnx import default_description, is_ready_onnx
from ...exporter.spec import model_spec
from .options import ModelOptions, PlanChoice


@dataclass(frozen=True)
class ResolvedModel:
    """A model, one of its graphs, and the folder of its bundle.

    Attributes:
        spec: Specification of the model.
        kind: Precision and input of the graph.
        folder: Folder of the bundle, which may not exist yet.
        plan: Choices for a plan that is compiled from the bundle.
        self_check: Whether its reference must have passed its self-check.
        checked: Self-check of its reference; ``None`` if that is not known.
    """

    spec: ModelSpec
    kind: GraphKind
    folder: Path
    plan: PlanChoice = field(default_factory=PlanChoice)
    self_check: bool = True
    checked: SelfCheck | None = None

    @property
    def is_in_cache(self) -> bool:
        """Whether its bundle has its place in the cache; otherwise the user names the folder."""
        return self.folder == cached_bundle_folder(self.spec, self.kind)

    @property
    def fingerprint(self) -> NetworkFingerprint | None:
        """Fingerprint of a network that is not known by its hash; ``None`` if there is none."""
        return self.checked.fingerprint if self.checked and self.spec.needs_fingerprint else None


def resolve_model(choice: ModelOptions, progress: Progress | None = None) -> ResolvedModel:
    """Find the model that a user names; no weights are read.

    A note says which preprocessing was taken and why, if there was a choice.

    Raises:
        InputError: If the model is unknown, or options do not suit a bundle.
        UnavailableError: If the package of the default weights is not installed.
    """
    resolved = _resolved(choice, progress)
    if progress is not None and (text := resolved.spec.prepared.text):
        progress.note(f"{resolved.spec.name}: {text}")
    return resolved


def _resolved(choice: ModelOptions, progress: Progress | None) -> ResolvedModel:
    kind = _kind(choice)
    folder = Path(choice.model).expanduser()
    if is_bundle(folder):
        return _bundle_model(choice, folder)
    if folder.is_dir() or ("/" in choice.model and not is_ready_onnx(choice.model)):
        raise InputError(
            f"{printable(folder)} is not a bundle: it has no model.json. "
            "Give a name that `evaluator models` lists, or a folder that `evaluator export` wrote."
        )
    description = _description(choice)
    spec = model_spec(
        choice.model,
        weights=choice.weights,
        seed=choice.seed,
        crop_px=choice.crop_px,
        test_size=choice.test_size,
        description=description,
        class_order=_class_order(choice, description),
        progress=progress,
    )
    if kind.precision != "fp32" and not spec.has_network:
        raise InputError(
            f"{spec.name} is an ONNX file, which cannot be converted to {kind.precision}. Leave "
            "out --precision, or give the network's code."
        )
    return ResolvedModel(
        spec, kind, cached_bundle_folder(spec, kind), choice.plan, choice.self_check
    )


def _description(choice: ModelOptions) -> Description | None:
    """The description that the user gives, or else the default one next to an ONNX file."""
    if choice.description is not None:
        return read_description(Path(choice.description).expanduser())
    default = default_description(Path(choice.model).expanduser())
    if is_ready_onnx(choice.model) and default.is_file():
        return read_description(default)
    return None


def _class_order(choice: ModelOptions, description: Description | None) -> ClassOrder | None:
    path = choice.classes or (description and description.classes_path)
    return read_class_order(Path(path).expanduser(), class_index()) if path else None


def _kind(choice: ModelOptions, default: GraphKind = FLOAT32_PIXELS) -> GraphKind:
    precision = choice.precision or default.precision
    input_kind = choice.input_kind or default.input_kind
    _check_word("precision", precision, get_args(Precision))
    _check_word("input", input_kind, get_args(InputKind))
    return GraphKind(cast(Precision, precision), cast(InputKind, input_kind))


def _check_word(option: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise InputError(f"There is no {option} {word!r}. Expected {' or '.join(known)}.")


def _bundle_model(choice: ModelOptions, folder: Path) -> ResolvedModel:
    if choice.has_network_options:
        raise InputError(
            f"{printable(folder)} is a bundle, whose weights and crop are fixed. Name the model "
            "instead, or leave out --weights, --seed, --crop-px, --test-size, --description and "
            "--classes."
        )
    model = read_manifest(folder)
    kind = _kind(choice, default=model.kind)
    if kind != model.kind:
        raise InputError(
            f"{printable(folder)} is a bundle in {model.kind}, got the options {kind}. Name the "
            "model instead."
        )
    return ResolvedModel(model.spec, model.kind, folder, choice.plan, choice.self_check)
