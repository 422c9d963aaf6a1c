"""Cue-conflict stimuli: the shape of one category with the texture of another, stored at 224 px.

``airplane1-bicycle2.png`` is the first airplane in the texture of the second bicycle. Of the 1280
stimuli, 80 have shape and texture of the same category. The other 1200 are the standard set. The
paper's copy has 1201, since it still contains one of the 80; a decision for bicycle counts as shape
and as texture there. The other 79 are never scored, so copies with 1201 and with 1280 stimuli give
the same run.

Two rules decide for a category, ``mean`` and ``argmax``; see ``metrics/shape_bias.py``. The stored
top-5 is over all 1000 classes, as in the paper's Figure 4.

The headline number is by the rule ``mean`` over the 1200, as Geirhos et al. recommend; the one by
``argmax`` over the 1201 is comparable with the paper's models.

Sources: Geirhos et al., "ImageNet-trained CNNs are biased towards texture; increasing shape bias
improves accuracy and robustness", ICLR 2019, and its repository rgeirhos/texture-vs-shape; Orhan,
arXiv 1907.07640.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import BENCHMARK_INFO, Benchmark, DatasetLayout, ImageBatch, Number
from ...errors import InputError
from ..decode import decode_stimulus
from ..metrics.shape_bias import RULES, Matches, decided, frac_correct, shape_bias
from ..metrics.two_way import Crossed, Ratio, crossed, ratio_interval
from .categories import CATEGORIES
from .image_metrics import CLEAN, UNFINISHED
from .numbers import Model, ScoredItems, both_scored, count_fields
from .pairs import check_same_images
from .top5 import ALL_SKIPPED, record_top5
from .top5 import SCHEMA as TOP5_SCHEMA

Flags = npt.NDArray[np.bool_]
Metric = Callable[[Matches], Ratio]

LEFTOVER = "bicycle6-bicycle3.png"
"""The one image of the paper's 1201 whose shape and texture are of the same category."""

STANDARD, PAPERS = 1200, 1201
"""Number of stimuli without non-conflict images, and with the one that the paper has."""

NOT_THERE = (
    f"{LEFTOVER} is not there, the one non-conflict image among the paper's 1201: score a tree "
    "that has it"
)
UNDECIDED = "no image was decided for its shape or its texture"

METRICS: Mapping[str, Metric] = {
    "shape_bias": shape_bias,
    "decided": decided,
    "frac_correct": frac_correct,
}
"""Metrics of a whole set."""

CATEGORY_METRICS: Mapping[str, Metric] = {
    "category_shape_bias": shape_bias,
    "category_decided": decided,
}
"""Metrics of the stimuli whose shapes are of one category."""

SCHEMA = pa.schema(
    [
        *list(TOP5_SCHEMA)[:2],
        *(pa.field(name, pa.string()) for name in ("shape", "texture", *RULES)),
        *list(TOP5_SCHEMA)[2:],
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
    return record_top5(logits, batch, SCHEMA, **decisions)


@dataclass(frozen=True)
class _Decisions(ScoredItems):
    """The decisions of one rule for the N stimuli of a set.

    Attributes:
        ids: Ids of the stimuli: (N,).
        shape: Category of each stimulus by its shape: (N,).
        matches: What the decisions match; neither if a stimulus was skipped.
    """

    ids: npt.NDArray[np.object_]
    shape: npt.NDArray[np.object_]
    matches: Matches

    def take(self, rows: Flags) -> Self:
        """The decisions of some of the stimuli."""
        matches = Matches(self.matches.shape[rows], self.matches.texture[rows])
        return type(self)(self.scored[rows], self.ids[rows], self.shape[rows], matches)

    @property
    def exemplars(self) -> Crossed:
        """The shape and the texture that each stimulus shows, by name."""
        parts = [name.removesuffix(".png").split("-") for name in self.ids.tolist()]
        return crossed([shape for shape, _ in parts], [texture for _, texture in parts])


def _numbers(*models: Model) -> Iterator[Number]:
    """Three metrics by each rule on each set; of one model, then two of each category."""
    sets = list(_sets(models))
    for fields, decisions in sets:
        yield from _of_stimuli(METRICS, fields, decisions)
    if len(models) == 1:
        for fields, (of_model,) in sets:
            for category in CATEGORIES:
                subset = of_model.take(of_model.shape == category)
                counts = {"category": category, "n": subset.n, "skipped": subset.skipped}
                yield from _of_stimuli(CATEGORY_METRICS, {**fields, **counts}, [subset])


def _sets(models: Sequence[Model]) -> Iterator[tuple[dict[str, Any], list[_Decisions]]]:
    """By each rule the standard stimuli, then the paper's: shared fields, each model's decisions.

    The field ``reason`` says why there are no numbers of the set.
    """
    finished = all(CLEAN in records for records, _ in models)
    tables = [records[CLEAN] if finished else SCHEMA.empty_table() for records, _ in models]
    check_same_images(*(table["id"] for table in tables))
    for rule in RULES:
        papers = both_scored([_recorded(table, rule) for table in tables])
        standard = [decisions.take(decisions.ids != LEFTOVER) for decisions in papers]
        lacks = None if LEFTOVER in papers[0].ids else NOT_THERE
        for stimuli, decisions, reason in ((STANDARD, standard, None), (PAPERS, papers, lacks)):
            if not finished:
                reason = UNFINISHED
            elif reason is None and decisions[0].n == 0:
                reason = ALL_SKIPPED
            counts = count_fields(decisions[:1], stimuli)
            yield {"rule": rule, "stimuli": stimuli, "reason": reason, **counts}, decisions


def _recorded(table: pa.Table, rule: str) -> _Decisions:
    """The recorded decisions, which are those for the paper's stimuli."""
    ids, shape, texture, decision = (
        table[name].to_numpy() for name in ("id", "shape", "texture", rule)
    )
    scored = table["error"].is_null().to_numpy()
    matches = Matches(scored & (decision == shape), scored & (decision == texture))
    return _Decisions(scored, ids, shape, matches)


def _of_stimuli(
    metrics: Mapping[str, Metric], fields: Mapping[str, Any], decisions: Sequence[_Decisions]
) -> Iterator[Number]:
    """The metrics of some stimuli, from each model's decisions for them."""
    scored = [of_model.take(of_model.scored) for of_model in decisions]
    exemplars = scored[0].exemplars
    for name, metric in metrics.items():
        ratios = [metric(of_model.matches) for of_model in scored]
        decided_by_all = all(ratio.below.any() for ratio in ratios)
        reason = fields["reason"] or (None if decided_by_all else UNDECIDED)
        number = Number({**fields, "metric": name, "reason": reason})
        if reason is None:
            values = [ratio.value for ratio in ratios]
            number = replace(number, values=values, interval=ratio_interval(ratios, exemplars))
        yield number


CUE_CONFLICT = Benchmark(
    info=BENCHMARK_INFO["cue-conflict"],
    conditions=(CLEAN,),
    stimuli_px=224,
    layout=DatasetLayout(
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
    numbers=_numbers,
)
