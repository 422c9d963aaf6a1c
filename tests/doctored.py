"""Bundles with a fault in their graph, whose manifest nevertheless fits their bytes."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from evaluator.contracts import Bundle
from evaluator.exporter.bundle import GRAPH, MANIFEST, content_sha256
from evaluator.storage.documents import sealed, write_document


def doctored(bundle: Bundle, folder: Path, edit: Callable[[Any], None]) -> Path:
    """A copy of a bundle whose graph was edited."""
    shutil.copytree(bundle.folder, folder)
    model = onnx.load(str(folder / GRAPH), load_external_data=False)
    edit(model.graph)
    (folder / GRAPH).write_bytes(model.SerializeToString())
    model_with_hash = replace(bundle.model, sha256=content_sha256(folder))
    write_document(folder / MANIFEST, sealed(model_with_hash))
    return folder
