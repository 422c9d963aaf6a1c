"""Verifying data on disk: names, counts and checksums, and whether the images are whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...contracts import Benchmark, Condition, NullProgress, Progress, ThreadSafeProgress
from ...errors import InputError, printable
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.benchmarks.table import find_benchmark
from ...evaluate.sources.generated_marker import refuse_lost_marker
from ...evaluate.sources.items import Items
from ...evaluate.sources.layout_rules import ARCHIVES
from ...evaluate.sources.open_source import MixedSource, open_source
from .archives import (
    KnownArchive,
    absent_archives,
    check_archives,
    known_archives,
    unfinished_downloads,
)
from .check import DataCheck
from .images import damaged_items
from .inventory import Inventory
from .recognition import recognised_benchmark
from .threads import reader_pool

LISTERS = 8
"""Conditions that are listed at once: a network file system answers slowly, but many."""

Values = Mapping[str, Sequence[str | int] | None]


def verify_data(
    path: str | Path,
    *,
    benchmark: str | None = None,
    labels: str | Path | None = None,
    corruptions: Sequence[str] | None = None,
    severities: Sequence[int] | None = None,
    perturbations: Sequence[str] | None = None,
    sums: bool = True,
    decode: bool = False,
    progress: Progress | None = None,
) -> DataCheck:
    """Check whether data on disk are a complete benchmark, without scoring anything.

    Args:
        path: A folder or file that ``score`` reads, or one that ``fetch_data`` made.
        benchmark: Name of the benchmark; if not given, it is recognised from the content.
        labels: List of classes, as for ``score``.
        corruptions: Corruptions that are expected; all if not given.
        severities: Severities that are expected; all if not given.
        perturbations: Perturbations that are expected; all if not given.
        sums: Whether to compare archives with their published or pinned checksums.
        decode: Whether to decode every item; otherwise the first and last bytes are checked.
        progress: Progress callback.

    Raises:
        InputError: If the path does not exist, its benchmark is not recognised, or an option does
            not fit.
        UnavailableError: If a package that decodes videos is missing.
    """
    path, progress = Path(path), ThreadSafeProgress(progress or NullProgress())
    if not path.exists():
        raise InputError(f"{printable(path)} does not exist. Give a folder or a tar file.")
    if benchmark is None and labels is not None:
        benchmark = IMAGENET.name  # the only one that has lists
    unfinished = list(unfinished_downloads(path))
    if benchmark is None and (unscored := _unscored_archives(path)):
        return _archives_only(path, unscored, unfinished, progress)
    definition = recognised_benchmark(path) if benchmark is None else find_benchmark(benchmark)
    values = {"corruption": corruptions, "severity": severities, "perturbation": perturbations}
    verification = _Verification(
        path,
        definition,
        _expected_conditions(definition, values),
        None if labels is None else Path(labels),
        sums,
        decode,
    )
    return verification.result(_Findings(progress, unfinished))


@dataclass(frozen=True)
class _Verification:
    """What is verified; the attributes are as in ``verify_data``."""

    path: Path
    benchmark: Benchmark
    expected: Sequence[Condition]
    labels: Path | None
    sums: bool
    decode: bool

    def result(self, findings: "_Findings") -> DataCheck:
        """Check everything; what is found on the way goes to the findings."""
        source = self._source(findings)
        generated = findings.is_generated(source)
        archives = [] if generated else known_archives(self.path, self.benchmark.name)
        archive_checks = check_archives(archives, findings.progress) if self.sums else []
        items = findings.items(source, self.expected)
        damaged = damaged_items(
            source, self.benchmark, items, findings.progress, decode=self.decode
        )
        inventory = Inventory(self.benchmark, items, generated)
        conditions = (inventory.check(c, damaged.get(c, ())) for c in self.expected)
        return DataCheck(
            self.path,
            self.benchmark.title,
            self.benchmark.info.noun,
            tuple(conditions),
            tuple(archive_checks),
            (*findings.problems, *inventory.problems()),
            (*findings.notes, *inventory.notes(), *absent_archives(archives)),
            self.decode,
        )

    def _source(self, findings: "_Findings") -> MixedSource:
        return open_source(
            [self.path],
            self.benchmark.conditions,
            progress=findings,
            layout=self.benchmark.layout,
            labels=self.labels,
            problems=findings.problems,
        )


@dataclass(frozen=True)
class _Findings:
    """Collects what is wrong and what should be known; progress is passed on.

    Attributes:
        progress: Progress callback of the caller.
        problems: What is wrong.
        notes: What should be known.
    """

    progress: Progress
    problems: list[str]
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Collect a line."""
        self.notes.append(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        """Report how much of a step is done."""
        self.progress.advance(step, done, total, unit)

    def is_generated(self, source: MixedSource) -> bool:
        """Whether the tool generated the data; contradictions are collected."""
        try:
            generated = source.generated is not None
        except InputError as error:
            self.problems.append(str(error))
            return True
        if generated:
            self.note("generated data, not the published benchmark: the number of photos is free")
        return generated

    def items(self, source: MixedSource, expected: Sequence[Condition]) -> dict[Condition, Items]:
        """The items of each expected condition that has some; listed in parallel."""
        available = set(source.conditions())
        present = [condition for condition in expected if condition in available]

        def items_of(condition: Condition) -> Items | None:
            try:
                return source.items(condition)
            except InputError as error:
                if str(error) not in self.problems:
                    self.problems.append(str(error))
                return None

        items = {}
        with reader_pool(LISTERS) as pool:
            results = zip(present, pool.map(items_of, present), strict=True)
            for done, (condition, own) in enumerate(results, start=1):
                self.progress.advance("listing", done, len(present), "conditions")
                if own:
                    items[condition] = own
        self._find_lost_marker(source, items)
        return items

    def _find_lost_marker(self, source: MixedSource, items: Mapping[Condition, Items]) -> None:
        try:
            if source.generated is None:
                refuse_lost_marker(source, items.values(), missing_ok=True)
        except InputError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))


def _expected_conditions(benchmark: Benchmark, values: Values) -> list[Condition]:
    """The conditions of a benchmark with the chosen values.

    Raises:
        InputError: If the benchmark has no such values.
    """
    conditions = list(benchmark.conditions)
    for key, allowed in values.items():
        if allowed is None:
            continue
        known = [c[key] for c in benchmark.conditions if key in dict(c.values)]
        if not known:
            raise InputError(f"{benchmark.title} has no {key} to select: omit the option.")
        if unknown := [value for value in allowed if value not in known]:
            raise InputError(
                f"{benchmark.title} has no {key} {unknown[0]!r}. Expected "
                f"{', '.join(map(str, dict.fromkeys(known)))}."
            )
        conditions = [condition for condition in conditions if condition[key] in allowed]
    return conditions


def _unscored_archives(path: Path) -> list[KnownArchive]:
    """The archives at a path if all of them are of data sets that are not scored."""
    known = known_archives(path, "")
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else [path.name]
    archives = {name for name in names if name.lower().endswith(ARCHIVES)}
    return known if {archive.path.name for archive in known} == archives else []


def _archives_only(
    path: Path, archives: Sequence[KnownArchive], problems: Sequence[str], progress: Progress
) -> DataCheck:
    """The result for data that no benchmark reads: their checksums."""
    checks = check_archives(archives, progress)
    title = ", ".join(dict.fromkeys(known.data_set.title for known in archives))
    return DataCheck(path, title, "images", (), tuple(checks), tuple(problems), (), False)
