"""The paper's Tables 1 and 2 with the user's models above them; its Table 3: ``shape_bias.py``.

Table 2 is accuracy under attack at epsilon 0.06. It contains only attacks that are made and counted
as in the paper. Attacks by another protocol, with other steps, starts or epsilons, or made on
another model are in the tables of their attack.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ...contracts import PAPERS_EPSILON, PAPERS_SOURCE, Score
from ..attack_numbers import TRANSFER, UNDER_ATTACK, WHITE_BOX
from ..footnotes import TableCell, percent
from ..model_results import ModelResults, NumberKey, ReportContents, refusals
from ..published.paper import SOURCE, printed_table
from ..published.paper_deviations import image_deviations, paper_deviations
from ..table import Table
from ..table_layout import Row, table_of_rows
from .attack import weakness
from .summary import header, rows_of

COLUMNS: tuple[NumberKey, ...] = (
    ("imagenet-c", "mce", {}),
    ("imagenet-c", "relative_mce", {}),
    ("imagenet-p", "mt5d", {}),
    ("imagenet-p", "mfr", {}),
)
"""Columns of Table 1, in its order."""

PAPERS_BASELINE = (
    "mT5D as printed is normalised by the AlexNet of Hendrycks & Dietterich (2019), whose T5D is "
    "not published"
)

OF_SOURCE = "source_accuracy"

_MADE_ON = {"source_model": PAPERS_SOURCE}
ATTACK_COLUMNS: Mapping[str, NumberKey] = {
    "black-box, 10 steps %": (
        TRANSFER,
        UNDER_ATTACK,
        {"epsilon": PAPERS_EPSILON, "steps": 10, **_MADE_ON},
    ),
    "white-box, 10 steps %": (WHITE_BOX, UNDER_ATTACK, {"epsilon": PAPERS_EPSILON, "steps": 10}),
    "white-box, 50 steps %": (WHITE_BOX, UNDER_ATTACK, {"epsilon": PAPERS_EPSILON, "steps": 50}),
}
"""Number of each column of accuracy under attack, in the table's order."""

COUNT = (
    "the paper's count: right without an attack, and the attack did not reach its target, a wrong "
    "class drawn at random; that a target is not reached is not an accuracy against an adversary"
)
MADE = (
    f"all but ALP and Denoising at epsilon {PAPERS_EPSILON}, by steps of 2/255 from one start; "
    f"black-box: made on {PAPERS_SOURCE}, where its target was not reached the clean image is "
    "classified"
)
COMPARATORS = (
    "Denoising (ResNet-152), feature denoising, is of another attack: targeted, epsilon 16/255, "
    "step 1.6/255 at 10 steps and 1/255 beyond, the last iterate is judged, any misclassification "
    "counts. That is not the paper's count, by which its targets reached at 10 steps, 4.9 %, would "
    "mean about 60 (source: facebookresearch/ImageNet-Adversarial-Training)",
    "ALP (InceptionV3) is of another attack, with an epsilon, step and count of its own: see "
    "Kannan et al. (2018)",
)


def paper_tables(contents: ReportContents) -> list[Table]:
    """Tables 1 and 2: the user's models, then all rows as printed; only those with own numbers."""
    return [*_table_1(contents), *_table_2(contents)]


def _table_1(contents: ReportContents) -> Iterator[Table]:
    rows = rows_of(contents.models, COLUMNS)
    if any(cell.number is not None for row in rows for cell in row.cells):
        notes = (*_baselines(contents), *refusals(contents.models, COLUMNS))
        rows += _printed_rows("table1", ".1f")
        yield table_of_rows(printed_title("table1"), header(COLUMNS), rows, notes)


def _table_2(contents: ReportContents) -> Iterator[Table]:
    models = [
        results
        for results in contents.models
        if any(cell.number is not None for cell in _under_attack(results))
    ]
    if not models:
        return
    rows = [Row((results.name,), [_clean(results), *_under_attack(results)]) for results in models]
    yield table_of_rows(
        printed_title("table2"),
        ("model", "clean %", *ATTACK_COLUMNS),
        [*rows, *_printed_rows("table2")],
        (
            COUNT,
            MADE,
            *(note for results in models for note in _source_notes(results)),
            *(note for results in models for note in _other_images(results)),
            *(note for results in contents.models for note in _left_out(results)),
            *COMPARATORS,
            *refusals(models, ATTACK_COLUMNS.values()),
        ),
    )


def printed_title(name: str) -> str:
    """Title of a table of the paper: ``table1``, ``table2`` or ``table3``."""
    return f"Table {name[-1]} of {SOURCE}: {printed_table(name).caption}"


def _printed_rows(name: str, number_format: str = "") -> Iterator[Row]:
    """All rows of a table of the paper."""
    for model, values in printed_table(name).rows.items():
        texts = ("" if value is None else format(value, number_format) for value in values)
        yield Row((f"{model}, as printed",), [TableCell(text) for text in texts])


def _baselines(contents: ReportContents) -> Iterator[str]:
    """Notes on the run by which each mT5D is normalised."""
    for results in contents.models:
        score = results.find("imagenet-p", "mt5d")
        if score is not None and score.value is not None:
            yield f"{results.name}: mT5D is normalised by the run {score.normalize_by}"
    yield PAPERS_BASELINE


def _under_attack(results: ModelResults) -> list[TableCell]:
    scores = (_score_as_in_paper(results, number) for number in ATTACK_COLUMNS.values())
    return [results.cell(score) for score in scores]


def _clean(results: ModelResults) -> TableCell:
    """Clean accuracy on the images of an attack; if there is none, from the top-1 error."""
    for number in ((WHITE_BOX, "clean_accuracy", {}), (TRANSFER, "clean_accuracy", _MADE_ON)):
        score = _score_as_in_paper(results, number)
        if score is not None and score.value is not None:
            return results.cell(score)
    error = results.find("imagenet", "top1_error")
    if error is None:
        return TableCell()
    value, low, high = (
        None if rate is None else 1 - rate for rate in (error.value, error.high, error.low)
    )
    return results.cell(replace(error, metric="accuracy", value=value, low=low, high=high))


def _score_as_in_paper(results: ModelResults, number: NumberKey) -> Score | None:
    """A number of a model; ``None`` if it is missing, or not made as in the paper."""
    benchmark, metric, keys = number
    score = results.find(benchmark, metric, **keys)
    if score is None or score.attack_protocol != "paper" or paper_deviations(score):
        return None
    return score


def _source_notes(results: ModelResults) -> Iterator[str]:
    """Notes on the source's accuracy under the black-box attack, which shows if it succeeded."""
    benchmark, metric, keys = ATTACK_COLUMNS["black-box, 10 steps %"]
    number = _score_as_in_paper(results, (benchmark, metric, keys))
    if number is None or number.value is None:
        return
    score = results.find(benchmark, OF_SOURCE, **keys)
    if score is None or score.value is None:
        yield f"{results.name}: how {PAPERS_SOURCE} itself fares under that attack is not known"
        return
    yield (
        f"{results.name}: {PAPERS_SOURCE} itself is right on "
        f"{percent(score.value, None, None)} % under that attack"
    )
    if warning := weakness(PAPERS_SOURCE, [score]):
        yield f"{results.name}: {warning}"


def _other_images(results: ModelResults) -> Iterator[str]:
    """Notes on white-box numbers that are not of the paper's images."""
    scores = (_score_as_in_paper(results, number) for number in ATTACK_COLUMNS.values())
    words = (word for score in scores if score is not None for word in image_deviations(score))
    for word in dict.fromkeys(words):
        yield f"{results.name}, white-box: of {word}"


def _left_out(results: ModelResults) -> Iterator[str]:
    """Notes on attacks with a number at this epsilon that are not as in the paper."""
    for benchmark, title in ((WHITE_BOX, "white-box"), (TRANSFER, "black-box")):
        scores = [s for s in results.of(benchmark, UNDER_ATTACK) if s.epsilon == PAPERS_EPSILON]
        for reason in dict.fromkeys(filter(None, map(_deviation, scores))):
            yield f"left out, {results.name}, {title}: {reason}"


def _deviation(score: Score) -> str:
    if score.attack_protocol != "paper":
        return f"it is by the protocol {score.protocol}, which counts otherwise"
    if words := paper_deviations(score):
        return f"it was made otherwise: {'; '.join(words)}"
    if score.benchmark == TRANSFER and score.source_model != PAPERS_SOURCE:
        return f"it was made on {score.source_model}, not on {PAPERS_SOURCE}"
    return ""
