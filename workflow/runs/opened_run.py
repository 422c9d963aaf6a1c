"""A run's records as one Arrow table."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts import Condition, RunManifest
from ...errors import InputError, printable
from ...records import run as runs
from .scored_run import ScoredRun, scored_run_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class OpenedRun:
    """A run on disk.

    Attributes:
        folder: Folder of the run.
        manifest: What the run is: its key, model and sizes.
        conditions: Finished conditions.
    """

    folder: Path
    manifest: RunManifest
    conditions: tuple[Condition, ...]
    _scored: ScoredRun

    def table(self) -> "pa.Table":
        """All records of the finished conditions, checked as for a report.

        The columns are those of the records, and one for each key of the conditions, such as
        ``corruption`` and ``severity``; ``epsilon`` is a number. ``table().to_pandas()`` is a data
        frame.

        Raises:
            InputError: If nothing is finished, or a file is damaged or was edited.
        """
        import pyarrow as pa

        if not self.conditions:
            raise InputError(
                f"{printable(self.folder)} has no finished condition. To continue the run, repeat "
                "the command that started it."
            )
        return pa.concat_tables(self._tables(), promote_options="default")

    def _tables(self) -> "Iterator[pa.Table]":
        import pyarrow as pa

        for condition in self.conditions:
            records = self._scored.records.finished[condition]
            for key, value in condition.values:
                value = float(value) if key == "epsilon" else value
                column = pa.repeat(pa.scalar(value), records.num_rows)
                records = records.append_column(key, column)
            yield records


def open_run(folder: str | Path) -> OpenedRun:
    """Open a run, whatever benchmark or attack it is of.

    Args:
        folder: Folder of the run, which holds ``run.json``.

    Raises:
        InputError: If it is not a run, or the run is damaged.
    """
    scored = scored_run_of(runs.open_run(Path(folder).expanduser()))
    run, finished = scored.run, tuple(scored.records.finished)
    return OpenedRun(run.folder, run.manifest, finished, scored)
