"""Which items of a benchmark are on disk, and which are missing or should not be there."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...contracts import Benchmark, Condition
from ...evaluate.benchmarks.cue_conflict import LEFTOVER
from ...evaluate.sources.items import Items
from .check import MOST_NAMES, ConditionCheck
from .expected import IMAGES_A_CLASS, expected_count, expected_stems, stem_of
from .images import Damage


@dataclass(frozen=True)
class Inventory:
    """The items of each condition on disk, compared with those of the benchmark.

    Attributes:
        benchmark: The benchmark.
        items: Items of each condition that is on disk.
        generated: Whether the tool generated them; then the conditions are compared with each
            other only, since the photos are the user's choice.
    """

    benchmark: Benchmark
    items: Mapping[Condition, Items]
    generated: bool

    def check(self, condition: Condition, damaged: Sequence[Damage]) -> ConditionCheck:
        """The result for one condition, on disk or not.

        Args:
            condition: The condition.
            damaged: Its damaged items.
        """
        own = self.items.get(condition)
        names, missing_count = self._missing(frozenset() if own is None else self._stems(own))
        return ConditionCheck(
            condition,
            0 if own is None else len(own),
            self._expected,
            tuple(names[:MOST_NAMES]),
            missing_count,
            tuple(damaged[:MOST_NAMES]),
            len(damaged),
        )

    def problems(self) -> Iterator[str]:
        """What should not be there, and items in other class folders than they belong in."""
        noun, title = self.benchmark.layout.noun, self.benchmark.title
        extra = sorted(self._names.keys() - (self._published or self._names.keys()))
        extra = [stem for stem in extra if self._names[stem] != LEFTOVER]
        if extra:
            yield (
                f"{len(extra):,} {noun}s have names that {title} does not have, first "
                f"{self._names[extra[0]]}."
            )
        if self._published is None and not self.generated and len(self._names) > self._expected:
            yield f"There are {len(self._names):,} {noun}s; {title} has {self._expected:,}."
        if self.benchmark.layout.id_includes_dir:
            yield from self._misplaced()

    def notes(self) -> Iterator[str]:
        """What a user should know and is not wrong."""
        layout, ids = self.benchmark.layout, self._names.values()
        if layout.id_includes_dir and not self.generated:
            absent = sorted(layout.folders().keys() - {id.partition("/")[0] for id in ids})
            if absent and ids:
                yield (
                    f"{len(absent):,} of {len(layout.folders()):,} class folders have no "
                    f"{layout.noun}s, first {absent[0]}"
                )
        if self.benchmark.name == "cue-conflict" and LEFTOVER not in ids:
            yield f"without {LEFTOVER} there are no numbers over the paper's 1201 stimuli"

    def _missing(self, stems: frozenset[str]) -> tuple[list[str], int]:
        """The names of missing items, as far as they are known, and the number of all."""
        everything = self._published or frozenset(self._names)
        absent = sorted(everything - stems)
        suffix = self.benchmark.layout.example.rpartition(".")[2]
        names = [self._names.get(stem, f"{stem}.{suffix}") for stem in absent]
        return names, len(names) + max(0, self._expected - len(everything))

    def _misplaced(self) -> Iterator[str]:
        """Items in two class folders, or in another one than in another condition."""
        noun = self.benchmark.layout.noun
        seen: set[int] = set()
        for condition, own in self.items.items():
            if id(own.ids) in seen:
                continue
            seen.add(id(own.ids))
            others = [i for i in own.ids if self._names[stem_of(i)] != i]
            if others:
                first = others[0]
                yield (
                    f"{len(others):,} {noun}s of {condition} are in another class folder as well "
                    f"or instead, first {first}, elsewhere {self._names[stem_of(first)]}."
                )
        if self._published is None or self._published != self._names.keys():
            return
        counts = Counter(name.partition("/")[0] for name in self._names.values())
        uneven = sorted(wnid for wnid, count in counts.items() if count != IMAGES_A_CLASS)
        if uneven:
            yield (
                f"{len(uneven):,} class folders do not have {IMAGES_A_CLASS} {noun}s, first "
                f"{uneven[0]} with {counts[uneven[0]]}: some are in a wrong class folder."
            )

    def _stems(self, items: Items) -> frozenset[str]:
        key = id(items.ids)
        if key not in self._stem_sets:
            self._stem_sets[key] = frozenset(map(stem_of, items.ids))
        return self._stem_sets[key]

    @cached_property
    def _stem_sets(self) -> dict[int, frozenset[str]]:
        """Stems of each list of ids, which conditions share."""
        return {}

    @cached_property
    def _names(self) -> dict[str, str]:
        """The id of each stem in any condition."""
        distinct = {id(items.ids): items.ids for items in self.items.values()}
        names: dict[str, str] = {}
        for ids in distinct.values():
            for item_id in ids:
                names.setdefault(stem_of(item_id), item_id)
        return names

    @cached_property
    def _published(self) -> frozenset[str] | None:
        """The stems of the published benchmark; ``None`` if they are not known."""
        return None if self.generated else expected_stems(self.benchmark, self._names.values())

    @cached_property
    def _expected(self) -> int:
        if self._published is not None:
            return len(self._published)
        return len(self._names) if self.generated else expected_count(self.benchmark)
