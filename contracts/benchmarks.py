"""Benchmarks as data: how their items are laid out, what is recorded, and what is computed."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .benchmark_info import BenchmarkInfo
from .items import Condition, Item
from .scores import Difference, Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from .engines import ImageBatch
    from .models import Preprocessing

    Records = Mapping[Condition, pa.Table]
    Decode = Callable[
        [bytes, Item, Preprocessing, Sequence[npt.NDArray[np.uint8]]],
        None,
    ]


def _one_frame(condition: Condition) -> int:
    return 1


@dataclass(frozen=True)
class DatasetLayout:
    """How a benchmark's items lie in the folder of their condition: ``<folder>/<file>``.

    Attributes:
        folders: What those folders may be called, and the label of the items in each; none where
            items have no label.
        suffixes: Of the files, in lower case.
        noun: What an item is, for messages: ``image`` or ``video``.
        class_dir_name: What such a folder is: ``ImageNet class``.
        example: An item's place, for messages.
        id_includes_dir: Whether an id is ``<folder>/<file>``. Where it is the file's name alone,
            files may as well lie in the condition's folder itself.
        listed: Whether files of a benchmark without conditions may be flat, their classes standing
            in a list, as with ImageNet's validation images.
        attributes: What an item's id says of it. Raises InputError where a name says nothing.
        folder_attribute: The attribute that the folder says as well, where items are in one.
        is_benchmark_item: Whether an id is one of the benchmark's; what is not is passed over.
        frames: Of each item of a condition.
    """

    folders: Callable[[], Mapping[str, int | None]]
    suffixes: frozenset[str]
    noun: str
    class_dir_name: str
    example: str
    id_includes_dir: bool = True
    listed: bool = False
    attributes: Callable[[str], tuple[tuple[str, str], ...]] | None = None
    folder_attribute: str | None = None
    is_benchmark_item: Callable[[str], bool] | None = None
    frames: Callable[[Condition], int] = _one_frame

    def is_item(self, name: str) -> bool:
        """Whether a file is an item, by its suffix."""
        return os.path.splitext(name)[1].lower() in self.suffixes


@dataclass(frozen=True)
class AuxiliaryRecords:
    """Other runs' finished records, which some numbers need.

    Attributes:
        clean: Of the same model on ImageNet's validation images.
        baseline: Of the model to normalise by, on the same benchmark.
    """

    clean: "pa.Table | None" = None
    baseline: "Records | None" = None


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as data: what is scored, what is recorded of it, what is made of the records.

    Attributes:
        info: What is published of it.
        conditions: All that the published benchmark has, in its order.
        stimuli_px: The side at which the stimuli are stored; none for photos, which are resized.
        tree: How the items of a condition lie in its folder.
        protocol: Changes whenever the same model and data could give another number.
        schema: The columns of a record. A row is an item, or with a column ``frame`` a frame.
        decode: Puts an item's frames, (S, S, 3) each, into arrays that it is given: from its bytes.
            Raises ImageError if the bytes are not those of such an item; the arrays are then
            of no account.
        record: (logits (N, C), the batch of N rows) to N records.
        scores: From the finished records of each condition, and those of other runs where they
            are at hand, to the numbers. Each condition is read once.
        differences: The same for two models, A and B, with their paired differences.
    """

    info: BenchmarkInfo
    conditions: tuple[Condition, ...]
    stimuli_px: int | None
    tree: DatasetLayout
    protocol: str
    schema: "pa.Schema"
    decode: "Decode"
    record: "Callable[[npt.NDArray[np.float32], ImageBatch], pa.RecordBatch]"
    scores: "Callable[[Records, AuxiliaryRecords], Iterable[Score]]"
    differences: (
        "Callable[[Records, Records, AuxiliaryRecords, AuxiliaryRecords], Iterable[Difference]]"
    )

    @property
    def name(self) -> str:
        """Name on the command line."""
        return self.info.name

    @property
    def title(self) -> str:
        """Name that its authors use."""
        return self.info.title
