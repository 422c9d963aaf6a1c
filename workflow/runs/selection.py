"""What of a benchmark is scored: which conditions, and which items of each."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...contracts import Benchmark, Condition, Item, ModelSpec, Progress
from ...errors import InputError
from ...evaluate.sources.generated_marker import refuse_lost_mark
from ...evaluate.sources.items import ItemSource, select_items, shared_items

ON_ERROR = ("fail", "skip")

Wanted = Mapping[str, Sequence[str | int] | None]


def places_of(data: str | Path | Sequence[str | Path]) -> list[Path]:
    """The folders and tars that a user names, one or several.

    Example:
        >>> [place.name for place in places_of(["noise.tar", "blur.tar"])], places_of("c")[0].name
        (['noise.tar', 'blur.tar'], 'c')
    """
    return [Path(place) for place in ([data] if isinstance(data, str | Path) else data)]


def skips_bad_files(on_error: str) -> bool:
    """What ``--on-error`` says.

    Raises:
        InputError: If it is no word that it knows.
    """
    if on_error not in ON_ERROR:
        raise InputError(f"--on-error is {' or '.join(ON_ERROR)}; got {on_error!r}.")
    return on_error == "skip"


@dataclass(frozen=True)
class Selection:
    """Which items of a benchmark's conditions are scored.

    Attributes:
        items: Items of each condition, with the same ids in all.
        ids_sha256: SHA-256 over the ids that all conditions share, before any subset or limit.
    """

    items: Mapping[Condition, Sequence[Item]]
    ids_sha256: str

    def text(self, benchmark: Benchmark) -> str:
        """How many items of a benchmark they are, in words."""
        conditions = len(self.items)
        where = "" if self.conditions == [Condition()] else f" in {conditions} condition"
        plural = "s" if conditions > 1 else ""
        return f"{self.count:,} {benchmark.tree.noun}s of {benchmark.title}{where}{plural}"

    @property
    def conditions(self) -> list[Condition]:
        """In the benchmark's order."""
        return list(self.items)

    @property
    def count(self) -> int:
        """Items in each condition."""
        return len(self.items[self.conditions[0]])

    @property
    def frames(self) -> int:
        """Of an item, the most that one has."""
        return max(items[0].frames for items in self.items.values())


def select(
    benchmark: Benchmark,
    source: ItemSource,
    wanted: Wanted,
    *,
    limit: int | None,
    progress: Progress,
    missing_ok: bool = False,
    every: int = 1,
) -> Selection:
    """The items to score now.

    Args:
        benchmark: Whose conditions.
        source: Where they are.
        wanted: Values of a condition's keys to choose, such as ``{"severity": [3]}``; none is all.
        limit: Items in each condition, evenly spaced.
        progress: Is told what the data lack.
        missing_ok: Keep what a condition lacks and others have, as items that cannot be read.
        every: Only each n-th of the sorted ids, before any limit.

    Raises:
        InputError: If a value is none of the benchmark's, a condition that is asked for is not
            there, if conditions differ in their ids, or if generated data have lost their mark.
    """
    conditions = _conditions(benchmark, source, wanted, progress)
    # Which images there are, and so which run it is, must not depend on what is scored now.
    compared = source.conditions() if missing_ok else conditions
    shared = shared_items(source, compared, missing_ok=missing_ok)
    everything = {condition: shared[condition] for condition in conditions}
    if source.generated is None:
        refuse_lost_mark(source, everything.values(), missing_ok=missing_ok)
    ids = next(iter(everything.values())).ids
    digest = hashlib.sha256("\0".join(ids).encode()).hexdigest()
    chosen = select_items(range(0, len(ids), every), limit)
    if len(chosen) < len(ids):
        everything = {c: found.at(chosen) for c, found in everything.items()}
    return Selection(everything, digest)


def check_crop(model: ModelSpec, benchmark: Benchmark) -> None:
    """Stored stimuli have one size, and only a model of that crop can take them.

    Raises:
        InputError: If the model's crop is another.
    """
    crop_px, stored_px = model.preprocessing.crop_px, benchmark.stimuli_px
    if stored_px is not None and crop_px != stored_px:
        raise InputError(
            f"{model.name} takes {crop_px} px, but the images of {benchmark.title} are stored at "
            f"{stored_px} px and are never resized. Make a bundle for them with `evaluator export "
            f"{model.asked_as} --crop-px {stored_px} --out FOLDER` and score FOLDER, or add "
            f"--crop-px {stored_px} here; either is marked."
        )


def _conditions(
    benchmark: Benchmark, source: ItemSource, wanted: Wanted, progress: Progress
) -> list[Condition]:
    chosen = list(benchmark.conditions)
    for key, values in wanted.items():
        if values is None:
            continue
        _check_values(benchmark, key, values)
        chosen = [condition for condition in chosen if condition[key] in values]
    there = [condition for condition in chosen if condition in source.conditions()]
    if not there:
        raise _not_there(benchmark, str(chosen[0]))
    for key, values in wanted.items():
        for value in values or ():
            if not any(condition[key] == value for condition in there):
                raise _not_there(benchmark, f"{key} {value}")
    if len(there) < len(chosen):
        absent = next(condition for condition in chosen if condition not in there)
        progress.note(
            f"{len(chosen) - len(there)} of {len(chosen)} conditions are not in the data, first "
            f"{absent}; the others are scored."
        )
    return there


def _not_there(benchmark: Benchmark, what: str) -> InputError:
    tree, keys = benchmark.tree, benchmark.conditions[0].values
    lacking = f"folder for {what}" if keys else f"{tree.noun}s of {benchmark.title}"
    layout = "".join(f"<{key}>/" for key, _ in keys)
    return InputError(
        f"The data hold no {lacking}. Expected {layout}{tree.example} below --data, or in a tar "
        "file that it names."
    )


def _check_values(benchmark: Benchmark, key: str, values: Sequence[str | int]) -> None:
    known = list(dict.fromkeys(c[key] for c in benchmark.conditions if key in dict(c.values)))
    if isinstance(values, str) or not values:
        raise InputError(
            f"A list of {key} values is expected, got {values!r}; leave it out for all."
        )
    unknown = [value for value in values if value not in known]
    if not known:
        raise InputError(f"{benchmark.title} has no {key} to choose: leave it out.")
    if unknown:
        raise InputError(
            f"{benchmark.title} has no {key} {unknown[0]!r}. Expected {', '.join(map(str, known))}."
        )
