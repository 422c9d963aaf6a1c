"""Bundles: folders that hold a deployable model, immutable once they are written.

    <model>-<12 hex digits>/model.onnx         the graph
                            model.onnx.data    its weights, if the graph has large ones
                            model.json         the manifest: an ``OnnxModel``

The digits are a hash of spec, precision, input kind, opset and format. The versions of the tools
are in the manifest only.
"""

import hashlib
import importlib.metadata
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..contracts import (
    FLOAT32_PIXELS,
    Bundle,
    GraphKind,
    LoadedNetwork,
    ModelSpec,
    NetworkFingerprint,
    OnnxModel,
)
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


@dataclass(frozen=True)
class WrittenGraph:
    """Facts that the manifest records of a graph, in addition to its model and kind.

    Attributes:
        weights_sha256: SHA-256 of the weights.
        opset: Opset of the graph.
        packages: Packages that made it; the manifest holds their versions.
        largest_activation: Largest activation on the photos; `None` if not measured.
    """

    weights_sha256: str
    opset: int
    packages: tuple[str, ...]
    largest_activation: float | None = None


def bundle_name(spec: ModelSpec, kind: GraphKind = FLOAT32_PIXELS) -> str:
    """Name of the bundle's folder in the cache, the same on every machine."""
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
    """Folder in the cache of this model's bundle, whether or not it exists."""
    return cache_folder("bundles") / bundle_name(spec, kind)


def is_bundle(folder: Path) -> bool:
    """Whether a folder has the manifest of a bundle."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> OnnxModel:
    """The manifest of a bundle; its graph is not read.

    Raises:
        InputError: If the manifest cannot be read, or was changed by hand.
    """
    return read_sealed(folder / MANIFEST, OnnxModel)


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle and verify that its files are as they were exported.

    Files that were not written to since they were last verified are not read again.

    Raises:
        InputError: If a file is missing or was changed.
    """
    model = read_manifest(folder)
    if model.sha256 != content_sha256(folder):
        raise InputError(
            f"The bundle {printable(folder)} was changed after it was exported: its graph or "
            "data do not have the SHA-256 of the manifest. Remove the folder and export again."
        )
    return Bundle(folder, model)


def open_matching_bundle(spec: ModelSpec, kind: GraphKind, folder: Path) -> Bundle:
    """Open a bundle that must have this model, precision and input.

    Raises:
        InputError: If it has another one, or is damaged.
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
            f"{printable(folder)} is a bundle of {model.spec.name} in {model.kind}, expected "
            f"{kind}. Choose another --out."
        )
    return bundle


def write_bundle(
    loaded: LoadedNetwork,
    folder: Path,
    kind: GraphKind = FLOAT32_PIXELS,
    photos: npt.NDArray[np.uint8] | None = None,
    fingerprint: NetworkFingerprint | None = None,
) -> Bundle:
    """Export a network into a new bundle. The network is changed: folded, and cast to precision.

    Args:
        loaded: Network to export.
        folder: Folder of the bundle.
        kind: Precision and input of the graph.
        photos: Pixels (N, S, S, 3) on which activations are measured; float16 needs them.
        fingerprint: Fingerprint of the network; `None` if it is known by its hash.

    Raises:
        InputError: If the network cannot be exported.
        OutputError: If the folder cannot be written or holds something else.
    """

    def write_graph(temporary: Path) -> WrittenGraph:
        largest_activation = write_onnx(loaded, temporary / GRAPH, kind, photos)
        return WrittenGraph(
            loaded.weights_sha256,
            OPSETS[kind.precision],
            ("evaluator", "torch", "torchvision", "onnx", "onnxscript"),
            largest_activation,
        )

    return publish_bundle(loaded.spec, folder, kind, write_graph, fingerprint)


def publish_bundle(
    spec: ModelSpec,
    folder: Path,
    kind: GraphKind,
    write_graph: Callable[[Path], WrittenGraph],
    fingerprint: NetworkFingerprint | None = None,
) -> Bundle:
    """Write a new bundle, or open an existing one.

    If another process publishes the same bundle meanwhile, that one is opened.

    Args:
        spec: Model of the bundle.
        folder: Folder of the bundle.
        kind: Precision and input of the graph.
        write_graph: Writes the graph and its data into a temporary folder.
        fingerprint: Fingerprint of the network; `None` if it is known by its hash.

    Raises:
        OutputError: If the folder cannot be written or holds something else.
    """
    if is_bundle(folder):
        return open_matching_bundle(spec, kind, folder)
    refuse_occupied_folder(folder)
    with atomic_folder(folder) as temporary:
        graph = write_graph(temporary)
        versions = {name: importlib.metadata.version(name) for name in graph.packages}
        model = OnnxModel(
            spec=spec,
            weights_sha256=graph.weights_sha256,
            sha256=content_sha256(temporary),
            opset=graph.opset,
            precision=kind.precision,
            input_kind=kind.input_kind,
            versions={"python": platform.python_version(), **versions},
            largest_activation=graph.largest_activation,
            fingerprint=fingerprint,
        )
        write_document(temporary / MANIFEST, sealed(model))
    return open_matching_bundle(spec, kind, folder)


def refuse_occupied_folder(folder: Path) -> None:
    """Refuse a place for a new bundle that holds a user's files.

    Raises:
        OutputError: If it is a file, or a folder that is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{printable(folder)} exists and is not a bundle. Choose another --out.")


def content_sha256(folder: Path) -> str:
    """SHA-256 over the hashes of graph and data, one after the other.

    Raises:
        InputError: If a file cannot be read.
    """
    hashes = [remembered_sha256(folder / GRAPH)]
    if (folder / DATA).exists():
        hashes.append(remembered_sha256(folder / DATA))
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()
