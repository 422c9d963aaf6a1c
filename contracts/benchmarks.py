"""Benchmarks and attacks as data: how items are laid out, what is recorded, what is computed."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .benchmark_info import BenchmarkInfo
from .items import Condition, Item
from .scores import Number

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from .engines import ImageBatch
    from .models import Preprocessing

    Records = Mapping[Condition, pa.Table]
    Model = tuple[Records, "AuxiliaryRecords"]
    Decode = Callable[[bytes, Item, Preprocessing, Sequence[npt.NDArray[np.uint8]]], None]


def _one_frame(condition: Condition) -> int:
    return 1


@dataclass(frozen=True)
class DatasetLayout:
    """How a benchmark's items lie in the folder of their condition: ``<folder>/<file>``.

    Attributes:
        folders: Allowed names of those folders, and the label of the items in each; `None` if the
            items have no label.
        suffixes: Suffixes of the files, in lower case.
        noun: Word for an item in messages: ``image`` or ``video``.
        class_dir_name: Words for such a folder in messages: ``ImageNet class``.
        example: Path of an item in its condition's folder, for messages.
        id_includes_dir: Whether an id is ``<folder>/<file>``. If it is the file's name alone, files
            may also lie directly in the condition's folder.
        listed: Whether files of a benchmark without conditions may lie in one flat folder, with
            their classes in a list, as ImageNet's validation images do.
        attributes: Attributes that an item's id states. Raises InputError if it states none.
        folder_attribute: Attribute that the folder's name states as well, if items are in one.
        is_benchmark_item: Whether an id belongs to the benchmark; items of other ids are ignored.
        frames: Number of frames of each item of a condition.
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
        clean: Records of the same model on ImageNet's validation images.
        baseline: Records of the model to normalise by, on the same benchmark.
    """

    clean: "pa.Table | None" = None
    baseline: "Records | None" = None


@dataclass(frozen=True)
class Evaluation:
    """How the records of a run become numbers; the run may be of a benchmark or of an attack.

    Attributes:
        info: Published facts.
        conditions: All conditions, in their order.
        numbers: The numbers of one model, or of two over the items that both scored, from their
            finished records of each condition, which are read once, and from those of other runs
            as far as they are known. Raises InputError if the models' records are not of the same
            items. Attacks are not compared in pairs.
    """

    info: BenchmarkInfo
    conditions: tuple[Condition, ...]
    numbers: "Callable[[*tuple[Model, ...]], Iterable[Number]]"

    @property
    def name(self) -> str:
        """Name on the command line."""
        return self.info.name

    @property
    def title(self) -> str:
        """Name that its authors use."""
        return self.info.title


@dataclass(frozen=True)
class Benchmark(Evaluation):
    """A benchmark that can be scored. Its conditions are all that the published one has.

    Attributes:
        stimuli_px: Side at which the stimuli are stored; `None` for photos, which are resized.
        layout: Layout of the items in the folder of a condition.
        protocol: Name with a version, which changes whenever the same model and data could give
            another number.
        schema: Columns of a record. A row is an item, or with a column ``frame`` a frame.
        decode: Decodes an item's bytes into arrays that it is given, (S, S, 3) for each frame.
            Raises ImageError if the bytes are not those of such an item; the content of the arrays
            is then undefined.
        record: Records of N rows, from their logits (N, C) and the batch.
    """

    stimuli_px: int | None
    layout: DatasetLayout
    protocol: str
    schema: "pa.Schema"
    decode: "Decode"
    record: "Callable[[npt.NDArray[np.float32], ImageBatch], pa.RecordBatch]"


@dataclass(frozen=True)
class Attack:
    """An attack that has runs of its own: its images are attacked, not scored.

    Its conditions are the epsilons that a user chose, and its numbers depend on the run's
    ``AttackSettings``, so an ``Evaluation`` of it belongs to a run.

    Attributes:
        info: Published facts.
        protocol: Name with a version, which changes whenever the same model, data and settings
            could give another number.
    """

    info: BenchmarkInfo
    protocol: str

    @property
    def name(self) -> str:
        """Name on the command line."""
        return self.info.name
