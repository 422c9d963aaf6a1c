"""The folder of a run: creating it, opening it, and refusing work of another identity."""

from collections.abc import Iterator
from pathlib import Path

from ..contracts import ModelSpec, Run, RunKey, RunManifest
from ..errors import InputError, OutputError, RunMismatchError, printable
from ..storage.atomic import check_place
from ..storage.documents import (
    document_differences,
    document_sha256,
    read_sealed,
    sealed,
    write_document,
)

MANIFEST = "run.json"
RECORDS = "records"

_ADVICE = (
    "It describes the records next to it, which cannot be interpreted without the original file: "
    "restore it, or repeat the run in another --out."
)


def key_sha256(key: RunKey) -> str:
    """The identity of a run: SHA-256 of its key, in hexadecimal."""
    return document_sha256(key)


def open_run(folder: Path) -> Run:
    """Open an existing run.

    Raises:
        InputError: If the folder is not a run, or its manifest is damaged.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError(
            f"{printable(folder)} is not a run: it has no {MANIFEST}. "
            "Give a folder that `evaluator score` or `evaluator attack` created."
        )
    return Run(folder, read_sealed(folder / MANIFEST, RunManifest, advice=_ADVICE))


def find_runs(folders: list[Path]) -> list[Run]:
    """The runs in these folders, sorted by path; each folder is a run or contains runs.

    Raises:
        InputError: If a folder is missing or contains no run.
    """
    runs: dict[Path, Run] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(
                f"{printable(folder)} is not a folder. Give a run, or a folder of runs such as "
                "`runs`."
            )
        record_folders = list(_record_folders(folder))
        run_folders = [path for path in record_folders if (path / MANIFEST).is_file()]
        if not run_folders:
            advice = (
                f"{printable(record_folders[0])} contains records. Restore its {MANIFEST}."
                if record_folders
                else "Create one with `evaluator score MODEL imagenet-c --data PATH` or "
                "`evaluator attack whitebox MODEL --data PATH`."
            )
            raise InputError(
                f"{printable(folder)} contains no run: it has no {MANIFEST} at any depth. {advice}"
            )
        for path in run_folders:
            runs.setdefault(path.resolve(), open_run(path))
    return list(runs.values())


def lost_records(folders: list[Path]) -> list[Path]:
    """The folders in or below these that contain records but not their manifest."""
    paths = dict.fromkeys(path for folder in folders for path in _record_folders(folder))
    return [path for path in paths if not (path / MANIFEST).is_file()]


def check_run_folder(
    folder: Path, advice: str = "Choose a new or an empty folder for --out."
) -> None:
    """Check, before an engine is prepared, that a folder is a run or that one can be created.

    Args:
        folder: Folder of the run.
        advice: What to do if the folder contains something else.

    Raises:
        OutputError: If the folder cannot be written, or contains something else.
    """
    if folder.exists() and not _is_run_or_empty(folder):
        raise OutputError(f"{printable(folder)} exists and is not a run. {advice}")
    check_place(folder / MANIFEST)


def create_or_open(folder: Path, manifest: RunManifest) -> Run:
    """Open the run in this folder, or create it.

    An existing run keeps its shard size and batch size: they decide which rows share a batch.

    Raises:
        RunMismatchError: If the folder contains a run with another key; the differences are named.
        OutputError: If the folder cannot be written, or contains something else.
    """
    check_run_folder(folder)
    # If several processes start the same run, the first one decides the shard size for all.
    write_document(folder / MANIFEST, sealed(manifest), first=True)
    run = open_run(folder)
    check_identity(run, manifest.key, manifest.model)
    return run


def check_identity(run: Run, key: RunKey, model: ModelSpec) -> None:
    """Refuse work of another identity.

    Args:
        run: Existing run.
        key: Key of the work.
        model: Model of the work; messages name it.

    Raises:
        RunMismatchError: If the keys differ. The models are named first, hashes last.
    """
    differences = list(document_differences(run.key, key))
    if differences:
        raise RunMismatchError(
            f"{printable(run.folder)} is a run of {_other_model(run, key, model)}: "
            f"{'; '.join(differences)}. Choose another --out, or repeat the command of that run."
        )


def _other_model(run: Run, key: RunKey, model: ModelSpec) -> str:
    """The model of a run and the requested one, as far as their names and weights differ."""
    there = run.manifest.model
    if there.name != model.name:
        return f"{printable(there.name)}, not of {printable(model.name)}"
    if run.key.weights_sha256 == key.weights_sha256:
        return "another identity"
    name, weights = printable(model.name), [printable(str(m.weights)) for m in (there, model)]
    if weights[0] == weights[1]:
        return f"{name} with other weights"
    return f"{name} ({weights[0]}), not ({weights[1]})"


def _is_run_or_empty(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    # Files of systems and editors start with a dot, as do our temporary files.
    return MANIFEST in names or all(name.startswith(".") for name in names)


def _record_folders(folder: Path) -> Iterator[Path]:
    """The folders, in order, that contain a manifest or records, or both."""
    records = (folder / RECORDS).glob("**/part-*.parquet")
    if (folder / MANIFEST).is_file() or any(records):
        yield folder
        return  # a run contains only records
    for child in sorted(folder.iterdir()):
        if not child.is_dir() or child.name.startswith("."):
            continue
        # A link to a run is followed; other links could lead to whole data sets, or in a circle.
        if not child.is_symlink() or (child / MANIFEST).is_file():
            yield from _record_folders(child)
