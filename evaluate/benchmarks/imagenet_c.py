"""ImageNet-C: 15 corruptions at 5 severities of the 50,000 validation photos, stored at 224 px.

The four further corruptions of the archive (speckle_noise, spatter, gaussian_blur, saturate) are
for validation only and never enter mCE.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...contracts import Benchmark, Condition, Score
from ..metrics.corruption_error import (
    corruption_error,
    mce,
    mean_error,
    relative_corruption_error,
    relative_mce,
)
from ..metrics.error_rate import error_rate
from .top5 import SCHEMA, correct, error_scores, record_top5

SEVERITIES = (1, 2, 3, 4, 5)
PUBLISHED_ITEMS = 50_000

ALEXNET_ERROR: Mapping[str, float] = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""AlexNet's top-1 error, mean over the severities, as published for mCE (Hendrycks & Dietterich
2019; by severity in hendrycks/robustness#10, whose means these are). Its keys are the 15."""

ALEXNET_CLEAN_ERROR = 0.435
"""AlexNet's top-1 error on the clean images. A fit, not a printed figure: every value from 0.4345
to 0.4355 reproduces the relative mCE that Orhan (2019) printed. torchvision's AlexNet: 0.4348."""

CORRUPTIONS = tuple(ALEXNET_ERROR)
CONDITIONS = tuple(
    Condition((("corruption", corruption), ("severity", severity)))
    for corruption in CORRUPTIONS
    for severity in SEVERITIES
)

Records = Mapping[Condition, pa.Table]
Errors = dict[str, npt.NDArray[np.float64]]


def _scores(records: Records, clean: pa.Table | None) -> Iterator[Score]:
    missing = [condition for condition in CONDITIONS if condition not in records]
    facts = _facts(records)
    same = None if clean is None or not records else _same_images(clean, records)
    if missing:
        refused = replace(facts, reason=_missing(missing))
        yield from (replace(refused, metric=m) for m in ("mean_error", "mce", "relative_mce"))
    else:
        errors = _errors(records)
        yield replace(facts, metric="mean_error", value=mean_error(errors, ALEXNET_ERROR))
        yield replace(facts, metric="mce", value=mce(errors, ALEXNET_ERROR))
        if same is None:
            yield replace(facts, metric="relative_mce", reason=_no_clean_error(clean))
        else:
            value = relative_mce(
                errors,
                error_rate(correct(same, 1)),
                baseline=ALEXNET_ERROR,
                baseline_clean=ALEXNET_CLEAN_ERROR,
            )
            yield replace(facts, metric="relative_mce", value=value)
    yield from _corruption_errors(records, same)
    for condition in CONDITIONS:
        if condition in records:
            for score in error_scores(records[condition], PUBLISHED_ITEMS):
                yield replace(
                    score,
                    corruption=str(condition["corruption"]),
                    severity=int(condition["severity"]),
                )


def _corruption_errors(records: Records, clean: pa.Table | None) -> Iterator[Score]:
    """CE of each corruption, and its relative CE where there is a clean error."""
    for corruption, baseline in ALEXNET_ERROR.items():
        cells = {c: t for c, t in records.items() if c["corruption"] == corruption}
        facts = replace(_facts(cells), metric="ce", corruption=corruption)
        missing = [s for s in SEVERITIES if s not in {c["severity"] for c in cells}]
        if len(missing) == len(SEVERITIES):
            continue
        if missing:
            wanted = [Condition((("corruption", corruption), ("severity", s))) for s in missing]
            yield replace(facts, reason=_missing(wanted))
            continue
        errors = _errors(cells)[corruption]
        yield replace(facts, value=corruption_error(errors, baseline))
        if clean is not None:
            value = relative_corruption_error(
                errors,
                error_rate(correct(clean, 1)),
                baseline=baseline,
                baseline_clean=ALEXNET_CLEAN_ERROR,
            )
            yield replace(facts, metric="relative_ce", value=value)


def _no_clean_error(clean: pa.Table | None) -> str:
    if clean is not None:
        return "the imagenet run lacks some of the images scored here"
    return (
        "it needs the clean error: give the imagenet run of the same model and engine beside this "
        "one"
    )


def _same_images(clean: pa.Table, records: Records) -> pa.Table | None:
    """The clean records of the corrupted images; none if one is missing. Suffixes may differ."""
    corrupted = next(iter(records.values()))
    wanted = pc.replace_substring_regex(corrupted["id"], r"\.[^./]*$", "")
    there = pc.replace_substring_regex(clean["id"], r"\.[^./]*$", "")
    if not pc.all(pc.is_in(wanted, value_set=pc.unique(there))).as_py():
        return None
    return clean.filter(pc.is_in(there, value_set=pc.unique(wanted)))


def _facts(records: Records) -> Score:
    """On how many images of each cell these scores stand, and how many were skipped in all."""
    scored = [table["error"].null_count for table in records.values()]
    return Score(
        n=min(scored, default=0),
        skipped=sum(table.num_rows for table in records.values()) - sum(scored),
        complete=bool(scored) and all(count == PUBLISHED_ITEMS for count in scored),
    )


def _errors(records: Records) -> Errors:
    """Top-1 error by severity of each corruption, nan where a cell is missing."""
    errors: Errors = {name: np.full(len(SEVERITIES), np.nan) for name in CORRUPTIONS}
    for condition, table in records.items():
        severity = int(condition["severity"])
        errors[str(condition["corruption"])][severity - 1] = error_rate(correct(table, 1))
    return errors


def _missing(conditions: list[Condition]) -> str:
    """Which cells are missing: ``2 of 75 cells are missing: fog, snow at severity 3``."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for corruption in CORRUPTIONS:
        lacking = tuple(int(c["severity"]) for c in conditions if c["corruption"] == corruption)
        if lacking:
            groups.setdefault(lacking, []).append(corruption)
    parts = []
    for lacking, names in groups.items():
        what = "every corruption" if len(names) == len(CORRUPTIONS) else ", ".join(names)
        where = f" at severity {', '.join(map(str, lacking))}" if lacking != SEVERITIES else ""
        parts.append(what + where)
    return f"{len(conditions)} of {len(CONDITIONS)} cells are missing: {'; '.join(parts)}"


IMAGENET_C = Benchmark(
    name="imagenet-c",
    title="ImageNet-C",
    conditions=CONDITIONS,
    published_items=PUBLISHED_ITEMS,
    stimuli_px=224,
    protocol="imagenet-c-1",
    schema=SCHEMA,
    record=record_top5,
    scores=_scores,
)
