"""Bundles: folders that hold a deployable model, immutable once they are there.

    <model>-<12 hex digits>/model.onnx         the graph
                            model.onnx.data    its weights, where the graph has large ones
                            model.json         the manifest: an ``OnnxModel``

The digits are a hash of spec, precision, input kind, opset and format; what the tools' versions
were stands in the manifest only.
"""

import hashlib
import importlib.metadata
import platform
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..contracts import FLOAT32_PIXELS, Bundle, GraphKind, LoadedNetwork, ModelSpec, OnnxModel
from ..errors import InputError, OutputError, printable
from ..storage.atomic import atomic_folder
from ..storage.cache import cache_folder
from ..storage.documents import document_sha256, read_sealed, sealed, write_document
from ..storage.hash_cache import remembered_sha256
from .graph.onnx_export import OPSETS, write_onnx
from .spec import identity

MANIFEST = "model.json"
GRAPH = "model.onnx"
DATA = "model.onnx.data"


def bundle_name(spec: ModelSpec, kind: GraphKind = FLOAT32_PIXELS) -> str:
    """The name of the folder in the cache, the same on every machine."""
    digits = document_sha256(
        {
            "spec": document_sha256(identity(spec)),
            "precision": kind.precision,
            "input_kind": kind.input_kind,
            "opset": OPSETS[kind.precision],
            "schema": OnnxModel.schema,
        }
    )
    return f"{spec.name.replace(':', '-')}-{digits[:12]}"


def cached_bundle_folder(spec: ModelSpec, kind: GraphKind = FLOAT32_PIXELS) -> Path:
    """Where the bundle of this model lies in the cache, whether it is there or not."""
    return cache_folder("bundles") / bundle_name(spec, kind)


def is_bundle(folder: Path) -> bool:
    """Whether a folder claims to be a bundle."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> OnnxModel:
    """What a bundle says of itself; its graph is not looked at.

    Raises:
        InputError: If the manifest cannot be read, or was changed by hand.
    """
    return read_sealed(folder / MANIFEST, OnnxModel)


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle and verify that its bytes are those that were exported.

    Files that nobody wrote to since they were last verified are not read again.

    Raises:
        InputError: If a file is missing or was changed.
    """
    model = read_manifest(folder)
    if model.sha256 != content_sha256(folder):
        raise InputError(
            f"The bundle {printable(folder)} was changed after it was exported: graph or data do "
            "not have the SHA-256 of the manifest. Remove the folder and export again."
        )
    return Bundle(folder, model)


def open_bundle_of(spec: ModelSpec, kind: GraphKind, folder: Path) -> Bundle:
    """Open a bundle that must be of this model, in this precision and with this input.

    Raises:
        InputError: If it is of another, or damaged.
    """
    bundle = open_bundle(folder)
    model = bundle.model
    if identity(model.spec) != identity(spec):
        raise InputError(
            f"{printable(folder)} is a bundle of another model: {model.spec.name} "
            f"with weights {model.spec.weights}. Choose another --out."
        )
    if model.kind != kind:
        raise InputError(
            f"{printable(folder)} is a bundle of {model.spec.name} in {model.kind}; asked for was "
            f"{kind}. Choose another --out."
        )
    return bundle


def write_bundle(
    loaded: LoadedNetwork,
    folder: Path,
    kind: GraphKind = FLOAT32_PIXELS,
    photos: npt.NDArray[np.uint8] | None = None,
) -> Bundle:
    """Export a network into a new bundle. The network is changed: folded, and cast to precision.

    If another process published the same bundle meanwhile, theirs is given.

    Args:
        loaded: The network.
        folder: Where the bundle will stand.
        kind: Precision and input of the graph.
        photos: Pixels (N, S, S, 3) on which activations are measured; float16 needs them.

    Raises:
        InputError: If the network cannot be exported.
        OutputError: If the folder cannot be written or holds something else.
    """
    if is_bundle(folder):
        return open_bundle_of(loaded.spec, kind, folder)
    refuse_what_is_no_bundle(folder)
    with atomic_folder(folder) as temporary:
        largest = write_onnx(loaded, temporary / GRAPH, kind, photos)
        model = OnnxModel(
            spec=loaded.spec,
            weights_sha256=loaded.weights_sha256,
            sha256=content_sha256(temporary),
            opset=OPSETS[kind.precision],
            precision=kind.precision,
            input_kind=kind.input_kind,
            versions=_versions(),
            largest_activation=largest,
        )
        write_document(temporary / MANIFEST, sealed(model))
    return open_bundle_of(loaded.spec, kind, folder)


def refuse_what_is_no_bundle(folder: Path) -> None:
    """Nothing that a user has is overwritten.

    Raises:
        OutputError: If the folder holds something, or is none.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{printable(folder)} is there and is no bundle. Choose another --out.")


def content_sha256(folder: Path) -> str:
    """SHA-256 over the hashes of graph and data, one after the other.

    Raises:
        InputError: If a file cannot be read.
    """
    hashes = [remembered_sha256(folder / GRAPH)]
    if (folder / DATA).exists():
        hashes.append(remembered_sha256(folder / DATA))
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _versions() -> dict[str, str]:
    packages = ("evaluator", "torch", "torchvision", "onnx", "onnxscript")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}
