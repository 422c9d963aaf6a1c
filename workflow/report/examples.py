"""Images that models fail on most often, and videos whose prediction changes most often."""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ...contracts import Condition, Progress
from ...errors import InputError, printable
from ...evaluate.benchmarks.imagenet_p import frames_of, pairs_of
from ...evaluate.benchmarks.sequences import sequences_of
from ...evaluate.classes import class_names
from ...reporting.html.contents import MOST_EXAMPLES, Gallery, Picture
from ...reporting.table import Table
from ..runs.scored_run import ScoredRun
from .thumbnails import thumbnails

CLASSIFIED = ("imagenet", "imagenet-c", "imagenet-a")
"""Benchmarks whose records say of each image whether it was right."""

FLIPPED = "imagenet-p"
NO_IMAGES = "The images are not shown, since they cannot be read again."


@dataclass
class Failures:
    """How often an image was classified wrong.

    Attributes:
        label: Class of the image.
        run: Run in which it was wrong first, and the condition.
        wrong: Number of wrong predictions.
        total: Number of predictions.
        answers: Wrong classes, with the number of predictions of each.
    """

    label: int
    run: tuple[ScoredRun, Condition]
    wrong: int = 0
    total: int = 0
    answers: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Flips:
    """How often the prediction for a video changes.

    Attributes:
        id: Id of the video.
        condition: Perturbation of the video.
        rate: Fraction of its pairs of frames that differ, mean over the models.
        models: Number of models that were scored on it.
        run: One of the runs.
    """

    id: str
    condition: Condition
    rate: float
    models: int
    run: ScoredRun


def example_galleries(runs: Sequence[ScoredRun], progress: Progress) -> Iterator[Gallery]:
    """The galleries that there are records for.

    Raises:
        InputError: If records are damaged.
    """
    if failed := most_failed(runs):
        yield replace(_failed_gallery(failed, progress), runs=_folders(runs, CLASSIFIED))
    if flipped := most_flipped(runs):
        yield replace(_flipped_gallery(flipped, progress), runs=_folders(runs, (FLIPPED,)))


def _folders(runs: Sequence[ScoredRun], benchmarks: Sequence[str]) -> tuple[str, ...]:
    """Folders of the runs of some benchmarks that have finished conditions."""
    chosen = (one for one in runs if one.benchmark.name in benchmarks and one.records.finished)
    return tuple(str(one.run.folder) for one in chosen)


def most_failed(runs: Sequence[ScoredRun]) -> dict[str, Failures]:
    """The images with the largest share of wrong predictions over all runs and conditions."""
    totals: dict[str, npt.NDArray[np.int64]] = {}
    for one in runs:
        if one.benchmark.name in CLASSIFIED:
            ids, counts = _counts(one)
            for id, count in zip(ids, counts, strict=True):
                totals[id] = totals.get(id, 0) + count
    failed = [(wrong / total, int(wrong), id) for id, (wrong, total) in totals.items() if wrong]
    worst = heapq.nsmallest(MOST_EXAMPLES, failed, key=lambda row: (-row[0], -row[1], row[2]))
    return _details(runs, [id for _, _, id in worst])


def _counts(one: ScoredRun) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Ids of a run, and of each the number of wrong predictions and of all: (N, 2)."""
    ids: list[str] = []
    counts = np.zeros((0, 2), np.int64)
    for table in one.records.finished.values():
        if not ids:
            ids, counts = table["id"].to_pylist(), np.zeros((table.num_rows, 2), np.int64)
        predicted, labels = _predictions(table)
        scored = predicted >= 0
        counts += np.stack([scored & (predicted != labels), scored], axis=1)
    return ids, counts


def _predictions(table: object) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Likeliest class of each row, -1 if it was skipped, and the label."""
    import pyarrow as pa
    import pyarrow.compute as pc

    assert isinstance(table, pa.Table)
    first = pc.fill_null(pc.list_element(table["top5"], 0), -1)
    return first.to_numpy().astype(np.int64), table["label"].to_numpy().astype(np.int64)


def _details(runs: Sequence[ScoredRun], ids: Sequence[str]) -> dict[str, Failures]:
    """Labels and wrong answers of some images, in their order."""
    chosen: dict[str, Failures] = {}
    for one in runs:
        if one.benchmark.name not in CLASSIFIED:
            continue
        rows: list[tuple[int, str]] = []
        for condition, table in one.records.finished.items():
            if not rows:
                places = {id: row for row, id in enumerate(table["id"].to_pylist())}
                rows = [(places[id], id) for id in ids if id in places]
            predicted, labels = _predictions(table)
            for row, id in rows:
                if predicted[row] >= 0:
                    entry = chosen.setdefault(id, Failures(int(labels[row]), (one, condition)))
                    _add(entry, int(predicted[row]))
    return {id: chosen[id] for id in ids}


def _add(entry: Failures, predicted: int) -> None:
    entry.total += 1
    if predicted != entry.label:
        entry.wrong += 1
        entry.answers[predicted] += 1


def most_flipped(runs: Sequence[ScoredRun]) -> list[Flips]:
    """The videos whose prediction changes most often, mean over the runs that have them."""
    videos = [one for one in runs if one.benchmark.name == FLIPPED]
    flips: list[Flips] = []
    for condition in dict.fromkeys(c for one in videos for c in one.records.finished):
        rates: dict[str, list[tuple[float, ScoredRun]]] = {}
        for one in videos:
            if condition in one.records.finished:
                for id, rate in _rates(one, condition):
                    rates.setdefault(id, []).append((rate, one))
        flips += [
            Flips(id, condition, sum(r for r, _ in found) / len(found), len(found), found[0][1])
            for id, found in rates.items()
        ]
        flips = heapq.nsmallest(
            MOST_EXAMPLES, flips, key=lambda f: (-f.rate, f.id, str(f.condition["perturbation"]))
        )
    return [one for one in flips if one.rate > 0]


def _rates(one: ScoredRun, condition: Condition) -> Iterator[tuple[str, float]]:
    sequences = sequences_of(
        one.records.finished[condition],
        condition,
        frames=frames_of(condition),
        pairs=pairs_of(condition),
    )
    for id, rate, scored in zip(
        sequences.ids.to_pylist(), sequences.flip_probability, sequences.scored, strict=True
    ):
        if scored:
            yield id, float(rate)


def _failed_gallery(failed: Mapping[str, Failures], progress: Progress) -> Gallery:
    names = class_names()
    rows, captions = [], {}
    for id, entry in failed.items():
        answer, times = entry.answers.most_common(1)[0]
        rows.append(
            (
                printable(id), names[entry.label], f"{entry.wrong:,}", f"{entry.total:,}",
                f"{100 * entry.wrong / entry.total:.1f}", names[answer], f"{times:,}",
            )
        )  # fmt: skip
        captions[id] = (
            f"{names[entry.label]}, wrong {entry.wrong:,} of {entry.total:,} times",
            f"most often: {names[answer]}",
            printable(id),
        )
    table = Table(
        "Images that models fail on most often",
        ("image", "label", "wrong", "of", "wrong %", "most often taken for", "times"),
        tuple(rows),
        ("over all models, and all finished conditions of ImageNet, ImageNet-C and ImageNet-A",),
        words=(0, 1, 5),
    )
    by_run: dict[tuple[str, Condition], tuple[ScoredRun, list[str]]] = {}
    for id, entry in failed.items():
        one, condition = entry.run
        by_run.setdefault((str(one.run.folder), condition), (one, []))[1].append(id)
    groups = [(one, condition, ids) for (_, condition), (one, ids) in by_run.items()]
    pictures, note = _pictures(
        groups, {id: (id, lines) for id, lines in captions.items()}, progress
    )
    return Gallery("Most-failed images", table, pictures, note)


def _flipped_gallery(flipped: Sequence[Flips], progress: Progress) -> Gallery:
    rows, captions = [], {}
    groups: dict[tuple[str, Condition], tuple[ScoredRun, list[str]]] = {}
    for one in flipped:
        perturbation = str(one.condition["perturbation"])
        rows.append((printable(one.id), perturbation, f"{100 * one.rate:.1f}", f"{one.models}"))
        captions[f"{perturbation}/{one.id}"] = (
            one.id,
            (f"{perturbation}: changes in {100 * one.rate:.0f} % of pairs", printable(one.id)),
        )
        key = (str(one.run.run.folder), one.condition)
        groups.setdefault(key, (one.run, []))[1].append(one.id)
    table = Table(
        "Videos whose prediction changes most often",
        ("video", "perturbation", "pairs of frames that differ %", "models"),
        tuple(rows),
        ("mean over the models; under noise each frame is compared with the first",),
        words=(0, 1),
    )
    wanted = [(run, condition, ids) for (_, condition), (run, ids) in groups.items()]
    pictures, note = _pictures(wanted, captions, progress)
    frames = "Of each video: the first, the middle and the last frame." if pictures else ""
    return Gallery("Most-flipped videos", table, pictures, " ".join(filter(None, (note, frames))))


def _pictures(
    groups: Sequence[tuple[ScoredRun, Condition, Sequence[str]]],
    captions: Mapping[str, tuple[str, tuple[str, ...]]],
    progress: Progress,
) -> tuple[tuple[Picture, ...], str]:
    """Pictures in the order of the captions, and a note on those that cannot be read.

    Args:
        groups: Runs and conditions with the ids that are read from their data.
        captions: Id and lines of each picture, by its id, or by perturbation and id.
        progress: Progress callback.
    """
    read: dict[str, tuple[bytes, tuple[int, int]]] = {}
    reason = ""
    for one, condition, ids in groups:
        perturbation = dict(condition.values).get("perturbation")
        prefix = "" if perturbation is None else f"{perturbation}/"
        try:
            for id, picture in thumbnails(one, condition, ids, progress).items():
                read[f"{prefix}{id}"] = picture
        except (InputError, OSError) as error:
            reason = reason or str(error)
    pictures = tuple(
        Picture(*read[key], f"{lines[0]}; {printable(id)}", lines)
        for key, (id, lines) in captions.items()
        if key in read
    )
    if len(pictures) == len(captions):
        return pictures, ""
    if not pictures:
        return (), f"{NO_IMAGES} {reason}".strip()
    missing = len(captions) - len(pictures)
    return pictures, f"{missing} of {len(captions)} are not shown: they cannot be read again."
