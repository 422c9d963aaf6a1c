"""Which items of a benchmark are on disk, and which are missing or should not be there."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...contracts import Benchmark, Condition
from ...evaluate.benchmarks.cue_conflict import LEFTOVER
from ...evaluate.sources.items import Ids, Items
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

    Items of the published benchmark are compared by their stems, since their folders may be wrong;
    others by their ids, since photos of two classes may have the same name.
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
        names, missing_count = self._missing(frozenset() if own is None else self._keys(own.ids))
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
        extra = sorted(self._names.keys() - self._common - {stem_of(LEFTOVER)})
        if extra:
            where = f"have names that {title} does not have"
            if self._published is None:
                where = "are in less than half of the conditions"
            yield f"{len(extra):,} {noun}s {where}, first {self._names[extra[0]]}."
        if self._published is not None and self.benchmark.layout.id_includes_dir:
            yield from self._misplaced()
        elif len(self._common) > self._expected:
            yield f"There are {len(self._common):,} {noun}s; {title} has {self._expected:,}."

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

    def _missing(self, keys: frozenset[str]) -> tuple[list[str], int]:
        """The names of missing items, as far as they are known, and the number of all."""
        absent = sorted(self._common - keys)
        suffix = self.benchmark.layout.example.rpartition(".")[2]
        names = [self._names.get(key, f"{key}.{suffix}") for key in absent]
        return names, len(names) + max(0, self._expected - len(self._common))

    def _misplaced(self) -> Iterator[str]:
        """Items in two class folders, or in another one than in another condition."""
        noun = self.benchmark.layout.noun
        conditions = {id(own.ids): condition for condition, own in self.items.items()}
        for number, condition in conditions.items():
            others = [i for i in self._lists[number] if self._names[stem_of(i)] != i]
            if others:
                first = others[0]
                yield (
                    f"{len(others):,} {noun}s of {condition} are in another class folder as well "
                    f"or instead, first {first}, elsewhere {self._names[stem_of(first)]}."
                )
        if self._published != self._names.keys():
            return
        counts = Counter(name.partition("/")[0] for name in self._names.values())
        uneven = sorted(wnid for wnid, count in counts.items() if count != IMAGES_A_CLASS)
        if uneven:
            yield (
                f"{len(uneven):,} class folders do not have {IMAGES_A_CLASS} {noun}s, first "
                f"{uneven[0]} with {counts[uneven[0]]}: some are in a wrong class folder."
            )

    def _keys(self, ids: Ids) -> frozenset[str]:
        """What the items of a condition are compared by."""
        return self._key_sets[id(ids)]

    @cached_property
    def _lists(self) -> dict[int, Ids]:
        """The distinct lists of ids; conditions share them."""
        return {id(own.ids): own.ids for own in self.items.values()}

    @cached_property
    def _key_sets(self) -> dict[int, frozenset[str]]:
        """What the items of each list are compared by."""
        by_stem = self._published is not None
        return {
            number: frozenset(map(stem_of, ids) if by_stem else ids)
            for number, ids in self._lists.items()
        }

    @cached_property
    def _names(self) -> dict[str, str]:
        """An id by what it is compared by, from any condition."""
        by_stem = self._published is not None
        names: dict[str, str] = {}
        for ids in self._lists.values():
            for name in ids:
                names.setdefault(stem_of(name) if by_stem else name, name)
        return names

    @cached_property
    def _published(self) -> frozenset[str] | None:
        """The stems of the published benchmark; ``None`` if they are not known."""
        if self.generated:
            return None
        ids = itertools.chain.from_iterable(self._lists.values())
        return expected_stems(self.benchmark, ids)

    @cached_property
    def _common(self) -> frozenset[str]:
        """What each condition should have: the published items, or those of most conditions."""
        if self._published is not None:
            return self._published
        uses = Counter(id(own.ids) for own in self.items.values())
        counts: Counter[str] = Counter()
        for number, count in uses.items():
            counts.update(dict.fromkeys(self._key_sets[number], count))
        half = len(self.items) / 2
        return frozenset(key for key, count in counts.items() if count >= half)

    @cached_property
    def _expected(self) -> int:
        if self._published is not None or self.generated:
            return len(self._common)
        return expected_count(self.benchmark)
