"""White-box attacks on ImageNet's validation photos: what a report must know of such a run.

The images are attacked, not scored: conditions are the epsilons that a user chose, and the numbers
follow from the run's ``AttackSettings``. Both are put in where a run is read.

Source: Orhan, arXiv 1907.07640: every second image of the sorted validation set.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import (
    BENCHMARK_INFO,
    AuxiliaryRecords,
    Benchmark,
    Condition,
    Difference,
    ImageBatch,
    Score,
)
from ..decode import decode_photo
from ..layouts import IMAGES_IN_CLASS_FOLDERS

INFO = BENCHMARK_INFO["whitebox"]
EPSILONS = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1)

Records = Mapping[Condition, pa.Table]


def epsilon_conditions(epsilons: Sequence[float]) -> tuple[Condition, ...]:
    """The condition of each epsilon, in [0, 1] pixel units.

    Example:
        >>> [condition.folder for condition in epsilon_conditions([0.5])]
        ['epsilon=0.5']
    """
    return tuple(Condition((("epsilon", float(epsilon)),)) for epsilon in epsilons)


def _record(logits: npt.NDArray[np.float32], batch: ImageBatch) -> pa.RecordBatch:
    raise NotImplementedError("attacks make records of their own")


def _scores(records: Records, beside: AuxiliaryRecords) -> Iterator[Score]:
    raise NotImplementedError("an attack's numbers need its settings")


def _no_differences(
    a: Records, b: Records, beside_a: AuxiliaryRecords, beside_b: AuxiliaryRecords
) -> Iterator[Difference]:
    yield from ()


WHITEBOX = Benchmark(
    info=INFO,
    conditions=epsilon_conditions(EPSILONS),
    stimuli_px=None,
    tree=IMAGES_IN_CLASS_FOLDERS,
    protocol="whitebox-1",
    schema=pa.schema([]),
    decode=decode_photo,
    record=_record,
    scores=_scores,
    differences=_no_differences,
)
