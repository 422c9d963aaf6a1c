"""Cue-conflict stimuli: the shape of one category with the texture of another, stored at 224 px.

``airplane1-bicycle2.png`` is the first airplane in the texture of the second bicycle. Of the 1280
stimuli, 80 have shape and texture of the same category. The other 1200 are the standard set. The
paper's copy has 1201, since it still contains one of the 80; a decision for bicycle counts as shape
and as texture there. The other 79 are never scored, so copies with 1201 and with 1280 stimuli give
the same run.

Two rules decide for a category, ``mean`` and ``argmax``; see ``metrics/shape_bias.py``. The stored
top-5 is over all 1000 classes, as in the paper's Figure 4.

Sources: Geirhos et al., "ImageNet-trained CNNs are biased towards texture; increasing shape bias
improves accuracy and robustness", ICLR 2019, and its repository rgeirhos/texture-vs-shape; Orhan,
arXiv 1907.07640.
"""

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import BENCHMARK_INFO, Benchmark, Condition, DatasetLayout, ImageBatch
from ...errors import InputError
from ..decode import decode_stimulus
from ..metrics.shape_bias import RULES
from .categories import CATEGORIES
from .shape_bias_scores import LEFTOVER, shape_bias_differences, shape_bias_scores
from .top5 import records_of, top5_columns

INFO = BENCHMARK_INFO["cue-conflict"]
STIMULI_PX = 224

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int32()),
        pa.field("shape", pa.string()),
        pa.field("texture", pa.string()),
        pa.field("mean", pa.string()),
        pa.field("argmax", pa.string()),
        pa.field("top5", pa.list_(pa.int32())),
        pa.field("probability", pa.list_(pa.float32())),
        pa.field("error", pa.string()),
    ]
)
"""Columns of a record. Categories are by name: of shape, of texture, and as each rule decides."""

_NAMES = np.array(list(CATEGORIES))
_NAME = re.compile(r"((?P<shape>[a-z]+)[0-9]+)-((?P<texture>[a-z]+)[0-9]+)\.png")


def attributes(id: str) -> tuple[tuple[str, str], ...]:
    """The shape and the texture that a stimulus's file name states.

    Raises:
        InputError: If it states none, or a category that is not one of the 16.

    Example:
        >>> dict(attributes("cat7-elephant1.png"))["texture_exemplar"]
        'elephant1'
    """
    name = _NAME.fullmatch(id)
    if name is None or not {name["shape"], name["texture"]} <= CATEGORIES.keys():
        raise InputError(
            "This is not the name of a cue-conflict stimulus. Expected one like "
            f"airplane1-bicycle2.png, of the categories {', '.join(CATEGORIES)}; remove the file."
        )
    return (
        ("shape", name["shape"]),
        ("texture", name["texture"]),
        ("shape_exemplar", name[1]),
        ("texture_exemplar", name[3]),
    )


def is_benchmark_item(id: str) -> bool:
    """Whether a stimulus is scored: its shape and texture differ, or it is ``LEFTOVER``."""
    name = _NAME.fullmatch(id)
    return name is None or name["shape"] != name["texture"] or id == LEFTOVER


def _record(logits: npt.NDArray[np.float32], batch: ImageBatch) -> pa.RecordBatch:
    classes = list(CATEGORIES.values())
    decisions = {
        rule: pa.array(_NAMES[decide(logits, classes)], pa.string())
        for rule, decide in RULES.items()
    }
    return records_of(SCHEMA, batch, {**top5_columns(logits), **decisions})


CUE_CONFLICT = Benchmark(
    info=INFO,
    conditions=(Condition(),),
    stimuli_px=STIMULI_PX,
    tree=DatasetLayout(
        folders=lambda: dict.fromkeys(CATEGORIES),
        suffixes=frozenset({".png"}),
        noun="image",
        class_dir_name="category",
        example="airplane/airplane1-bicycle2.png",
        id_includes_dir=False,
        attributes=attributes,
        folder_attribute="shape",
        is_benchmark_item=is_benchmark_item,
    ),
    protocol="cue-conflict-1",
    schema=SCHEMA,
    decode=decode_stimulus,
    record=_record,
    scores=shape_bias_scores,
    differences=shape_bias_differences,
)
