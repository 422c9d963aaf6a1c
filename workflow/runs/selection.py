"""The part of a benchmark to score: which conditions, and which items of each."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...contracts import Benchmark, Condition, Item, ModelSpec, Progress
from ...errors import InputError
from ...evaluate.sources.generated_marker import refuse_lost_marker
from ...evaluate.sources.items import ItemSource, select_items, shared_items

ON_ERROR = ("fail", "skip")

Values = Mapping[str, Sequence[str | int] | None]
"""Values to select for keys of conditions; `None` selects all."""


def places_of(data: str | Path | Sequence[str | Path]) -> list[Path]:
    """The folders and tar files that a user names, one or several.

    Example:
        >>> [place.name for place in places_of(["noise.tar", "blur.tar"])], places_of("c")[0].name
        (['noise.tar', 'blur.tar'], 'c')
    """
    return [Path(place) for place in ([data] if isinstance(data, str | Path) else data)]


def skips_bad_files(on_error: str) -> bool:
    """Whether ``--on-error`` is ``skip``.

    Raises:
        InputError: If it is neither ``fail`` nor ``skip``.
    """
    if on_error not in ON_ERROR:
        raise InputError(f"--on-error must be {' or '.join(ON_ERROR)}, not {on_error!r}.")
    return on_error == "skip"


@dataclass(frozen=True)
class Selection:
    """The items to score, in each condition.

    Attributes:
        items: Items of each condition, with the same ids in all.
        ids_sha256: SHA-256 over the ids that all conditions share, before any subset or limit.
        index_places: Lists and files whose class indices are the labels.
    """

    items: Mapping[Condition, Sequence[Item]]
    ids_sha256: str
    index_places: Sequence[str] = ()

    def text(self, benchmark: Benchmark) -> str:
        """Number of items and conditions of a benchmark, in words."""
        conditions = len(self.items)
        where = "" if self.conditions == [Condition()] else f" in {conditions} condition"
        plural = "s" if conditions > 1 else ""
        return f"{self.count:,} {benchmark.layout.noun}s of {benchmark.title}{where}{plural}"

    @property
    def conditions(self) -> list[Condition]:
        """The conditions, in the benchmark's order."""
        return list(self.items)

    @property
    def count(self) -> int:
        """The number of items in each condition."""
        return len(self.items[self.conditions[0]])

    @property
    def frames(self) -> int:
        """The largest number of frames of an item."""
        return max(items[0].frames for items in self.items.values())


def select(
    benchmark: Benchmark,
    source: ItemSource,
    values: Values,
    *,
    limit: int | None,
    progress: Progress,
    missing_ok: bool = False,
    every: int = 1,
) -> Selection:
    """The items to score now.

    Args:
        benchmark: Benchmark to score.
        source: Source of its items.
        values: Values to select for keys of conditions, such as ``{"severity": [3]}``; `None`
            selects all.
        limit: Number of items to select in each condition, evenly spaced; `None` for all.
        progress: Progress callback.
        missing_ok: Whether items that only some conditions have are kept in the others as well, as
            items that cannot be read.
        every: Step through the sorted ids: only each n-th is selected, before any limit.

    Raises:
        InputError: If the benchmark has no such value, if a selected condition is missing, if
            conditions differ in their ids, or if the marker of generated data is missing.
    """
    conditions = _conditions(benchmark, source, values, progress)
    # The ids of all images identify the run, so they must not depend on what is scored now.
    id_conditions = source.conditions() if missing_ok else conditions
    shared = shared_items(source, id_conditions, missing_ok=missing_ok)
    items = {condition: shared[condition] for condition in conditions}
    if source.generated is None:
        refuse_lost_marker(source, items.values(), missing_ok=missing_ok)
    ids = next(iter(items.values())).ids
    digest = hashlib.sha256("\0".join(ids).encode()).hexdigest()
    positions = select_items(range(0, len(ids), every), limit)
    if len(positions) < len(ids):
        items = {condition: every_item.at(positions) for condition, every_item in items.items()}
    return Selection(items, digest, source.index_places)


def check_crop(model: ModelSpec, benchmark: Benchmark) -> None:
    """Refuse a model whose crop is not the size at which the stimuli are stored.

    Raises:
        InputError: If the sizes differ.
    """
    crop_px, stored_px = model.preprocessing.crop_px, benchmark.stimuli_px
    if stored_px is not None and crop_px != stored_px:
        raise InputError(
            f"{model.name} takes {crop_px} px, but the images of {benchmark.title} are stored at "
            f"{stored_px} px and are never resized. Make a bundle for them with `evaluator export "
            f"{model.asked_as} --crop-px {stored_px} --out FOLDER` and score FOLDER, or add "
            f"--crop-px {stored_px} here; reports mark either."
        )


def _conditions(
    benchmark: Benchmark, source: ItemSource, values: Values, progress: Progress
) -> list[Condition]:
    selected = list(benchmark.conditions)
    chosen = {key: allowed for key, allowed in values.items() if allowed is not None}
    for key, allowed in chosen.items():
        _check_values(benchmark, key, allowed)
        selected = [condition for condition in selected if condition[key] in allowed]
    available = [condition for condition in selected if condition in source.conditions()]
    if not available:
        raise _missing(benchmark, str(selected[0]))
    for key, allowed in chosen.items():
        for value in allowed:
            if not any(condition[key] == value for condition in available):
                raise _missing(benchmark, f"{key} {value}")
    if len(available) < len(selected):
        absent = next(condition for condition in selected if condition not in available)
        progress.note(
            f"{len(selected) - len(available)} of {len(selected)} conditions are not in the data, "
            f"first {absent}; the others are scored."
        )
    return available


def _missing(benchmark: Benchmark, condition: str) -> InputError:
    tree, keys = benchmark.layout, benchmark.conditions[0].values
    missing = f"folder for {condition}" if keys else f"{tree.noun}s of {benchmark.title}"
    layout = "".join(f"<{key}>/" for key, _ in keys)
    return InputError(
        f"The data contain no {missing}. Expected {layout}{tree.example} below --data, or in a tar "
        "file that it names."
    )


def _check_values(benchmark: Benchmark, key: str, values: Sequence[str | int]) -> None:
    known = list(dict.fromkeys(c[key] for c in benchmark.conditions if key in dict(c.values)))
    if isinstance(values, str) or not values:
        raise InputError(
            f"Expected a list of {key} values, got {values!r}; omit the option to select all."
        )
    unknown = [value for value in values if value not in known]
    if not known:
        raise InputError(f"{benchmark.title} has no {key} to select: omit the option.")
    if unknown:
        raise InputError(
            f"{benchmark.title} has no {key} {unknown[0]!r}. Expected {', '.join(map(str, known))}."
        )
