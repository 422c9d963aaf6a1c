"""A run's folder: making it, opening it again, and refusing work of another identity."""

from collections.abc import Iterator
from pathlib import Path

from ..contracts import Run, RunKey, RunManifest
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
    "It says what the records beside it are, and without it as it was they say nothing: put the "
    "original back, or make the run again in another --out."
)


def key_sha256(key: RunKey) -> str:
    """The identity of a run as 64 hex digits."""
    return document_sha256(key)


def open_run(folder: Path) -> Run:
    """Open a run that is there.

    Raises:
        InputError: If the folder is no run, or its manifest cannot be read.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError(
            f"{printable(folder)} is no run: it has no {MANIFEST}. "
            "Give a folder that `evaluator score` or `evaluator attack` made."
        )
    return Run(folder, read_sealed(folder / MANIFEST, RunManifest, advice=_ADVICE))


def find_runs(folders: list[Path]) -> list[Run]:
    """The runs in these folders, each a run or a folder of runs, in order of their paths.

    Raises:
        InputError: If a folder is missing or holds no run.
    """
    runs: dict[Path, Run] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(
                f"{printable(folder)} is no folder. Give a run, or a folder of runs such as `runs`."
            )
        found = [place for place in _places(folder) if (place / MANIFEST).is_file()]
        if not found:
            lost = [f"{printable(place)} holds records." for place in lost_records([folder])]
            advice = (
                "Make one with `evaluator score MODEL imagenet-c --data PATH` or "
                "`evaluator attack whitebox MODEL --data PATH`."
            )
            raise InputError(
                f"{printable(folder)} holds no run: no {MANIFEST} lies in it or below. "
                f"{f'{lost[0]} Restore its {MANIFEST}.' if lost else advice}"
            )
        for place in found:
            runs.setdefault(place.resolve(), open_run(place))
    return list(runs.values())


def lost_records(folders: list[Path]) -> list[Path]:
    """The folders in or below these that hold records, but not the manifest that says of what."""
    places = [place for folder in folders for place in _places(folder)]
    return [place for place in dict.fromkeys(places) if not (place / MANIFEST).is_file()]


def check_run_folder(
    folder: Path, advice: str = "Choose a new or an empty folder for --out."
) -> None:
    """Find out, before an engine is made for it, that a run can be or be made here.

    Args:
        folder: Of the run.
        advice: What to do where it holds something else.

    Raises:
        OutputError: If the folder cannot be written, or holds something else.
    """
    if folder.exists() and not _is_run_or_empty(folder):
        raise OutputError(f"{printable(folder)} is there and is no run. {advice}")
    check_place(folder / MANIFEST)


def create_or_open(folder: Path, manifest: RunManifest) -> Run:
    """The run of this key in this folder, made if it is not there.

    A run that is there keeps its own shard and batch size: they decide which rows share a batch.

    Raises:
        RunMismatchError: If the folder holds a run of another key; what differs is named.
        OutputError: If the folder cannot be written, or holds something else.
    """
    check_run_folder(folder)
    # Of several processes that begin the same run, the first one's shard size holds for all.
    write_document(folder / MANIFEST, sealed(manifest), first=True)
    run = open_run(folder)
    differences = list(document_differences(run.key, manifest.key))
    if differences:
        raise RunMismatchError(
            f"{printable(folder)} is a run of another identity: {'; '.join(differences)}. "
            "Choose another --out, or repeat what that run was made with."
        )
    return run


def _is_run_or_empty(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    # What systems and editors leave in any folder begins with a dot, as do our own temporaries.
    return MANIFEST in names or all(name.startswith(".") for name in names)


def _places(folder: Path) -> Iterator[Path]:
    """The folders, in order, that hold a manifest or records, or both."""
    records = (folder / RECORDS).glob("**/part-*.parquet")
    if (folder / MANIFEST).is_file() or any(records):
        yield folder
        return  # what lies inside a run is records
    for child in sorted(folder.iterdir()):
        if not child.is_dir() or child.name.startswith("."):
            continue
        # A link to a run is followed; one to other folders could lead to whole data sets, or back.
        if not child.is_symlink() or (child / MANIFEST).is_file():
            yield from _places(child)
