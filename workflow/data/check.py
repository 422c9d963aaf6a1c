"""The result of verifying data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...contracts import Condition
from ...errors import printable
from .archives import ArchiveCheck
from .images import Damage

MOST_NAMES = 100
"""Most names of missing or damaged items that are listed of a condition."""


@dataclass(frozen=True)
class ConditionCheck:
    """What was found of one condition.

    Attributes:
        condition: The condition.
        items: Number of its items on disk.
        expected: Number that it should have.
        missing: Names of missing items, at most ``MOST_NAMES``, where they are known.
        missing_count: Number of missing items.
        damaged: Damaged items with the reason, at most ``MOST_NAMES``.
        damaged_count: Number of damaged items.
    """

    condition: Condition
    items: int
    expected: int
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    damaged: tuple[Damage, ...] = ()
    damaged_count: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing or damaged."""
        return self.items > 0 and self.missing_count == 0 and self.damaged_count == 0


@dataclass(frozen=True)
class DataCheck:
    """The result of verifying data.

    Attributes:
        path: The folder or file.
        title: Title of the benchmark or data set.
        noun: Plural of the word for its items.
        conditions: What was found of each expected condition; empty for data that are not scored.
        archives: Archives of published names.
        problems: Whatever else is wrong, one sentence each.
        notes: What a user should know and is not wrong.
        decoded: Whether each item was decoded.
    """

    path: Path
    title: str
    noun: str
    conditions: tuple[ConditionCheck, ...]
    archives: tuple[ArchiveCheck, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    decoded: bool

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing, damaged or out of place."""
        conditions = all(check.is_complete for check in self.conditions)
        return conditions and all(check.passed for check in self.archives) and not self.problems

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        if self.is_complete:
            return f"Complete: {self.title} in {printable(self.path)}."
        absent = sum(c.items == 0 for c in self.conditions)
        lacking = sum(c.items > 0 and c.missing_count > 0 for c in self.conditions)
        missing = sum(c.missing_count for c in self.conditions)
        damaged = sum(c.damaged_count for c in self.conditions)
        failed = sum(not archive.passed for archive in self.archives)
        total = f"of {len(self.conditions)} conditions"
        parts = [
            f"{missing:,} {self.noun} are missing" if missing else "",
            f"{absent} {total} are missing" if absent else "",
            f"{lacking} {total} lack {self.noun}" if lacking and len(self.conditions) > 1 else "",
            f"damaged {self.noun}: {damaged:,}" if damaged else "",
            f"archives with a wrong checksum: {failed}" if failed else "",
            f"other problems: {len(self.problems)}" if self.problems else "",
        ]
        return f"Not complete: {'; '.join(part for part in parts if part)}."

    def document(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "path": str(self.path),
            "title": self.title,
            "complete": self.is_complete,
            "decoded": self.decoded,
            "conditions": [
                {
                    **dict(c.condition.values),
                    "items": c.items,
                    "expected": c.expected,
                    "missing": c.missing_count,
                    "missing_names": list(c.missing),
                    "damaged": c.damaged_count,
                    "damaged_names": [{"id": id, "reason": reason} for id, reason in c.damaged],
                }
                for c in self.conditions
            ],
            "archives": [
                {
                    "path": str(a.path),
                    "data_set": a.data_set,
                    "passed": a.passed,
                    "verdict": a.verdict,
                }
                for a in self.archives
            ],
            "problems": list(self.problems),
            "notes": list(self.notes),
        }
