"""All tables of a report, as text in cells, for the terminal and for Markdown.

A number that is not of the whole published benchmark, or comes from generated data, has a mark that
says so. ``OF_BENCHMARK`` names the function that makes a benchmark's tables; a benchmark without
one has the table of ``generic.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ...contracts import Score
from ..claims import claim_tables
from ..footnotes import counted
from ..model_results import ModelResults, ReportContents
from ..published.paper import published_models, published_scores
from ..table import Table
from .attack import attack_tables
from .corruption import corruption_tables
from .generic import generic_tables
from .paper import paper_tables
from .perturbation import perturbation_tables
from .shape_bias import shape_bias_tables
from .summary import calibration_tables, summary_tables

OF_BENCHMARK: Mapping[str, Callable[[ReportContents], list[Table]]] = {
    "imagenet": calibration_tables,
    "imagenet-c": corruption_tables,
    "imagenet-p": perturbation_tables,
    "cue-conflict": shape_bias_tables,
    "whitebox": partial(attack_tables, benchmark="whitebox"),
    "transfer": partial(attack_tables, benchmark="transfer"),
}


def report_tables(
    models: Sequence[ModelResults],
    *,
    all_published: bool = False,
    left_out: Sequence[str] = (),
    besides: Sequence[Table] = (),
) -> list[Table]:
    """All tables of a report.

    Args:
        models: The user's models.
        all_published: Show all the paper's models, not only those that are among the models.
        left_out: Notes on what the tables leave out.
        besides: Further tables, before the one of the runs.
    """
    contents = ReportContents(models, published_beside(models, all_published))
    tables = [*summary_tables(contents), *claim_tables(models), *paper_tables(contents)]
    for tables_of in OF_BENCHMARK.values():
        tables += tables_of(contents)
    others = dict.fromkeys(score.benchmark for results in models for score in results.scores)
    for benchmark in others:
        if benchmark not in OF_BENCHMARK:
            tables += generic_tables(contents, benchmark)
    return [*tables, *besides, provenance_table(models, left_out)]


def published_beside(models: Sequence[ModelResults], all_published: bool) -> list[ModelResults]:
    """Published results of the paper's models that are among these, or of all its models."""
    names = {results.model for results in models}
    return [
        ModelResults(f"{model}, as published", model, tuple(published_scores(model)))
        for model in published_models()
        if all_published or model in names
    ]


def provenance_table(models: Sequence[ModelResults], left_out: Sequence[str] = ()) -> Table:
    """The runs, one row each, with notes on what the tables leave out."""
    runs: dict[str, Score] = {}
    for score in (score for results in models for score in results.scores):
        largest = runs.setdefault(score.run, score)
        runs[score.run] = replace(score, n=max(score.n, largest.n))
    rows = tuple((name, _description(score)) for name, score in runs.items())
    return Table("What ran", ("run", "what"), rows, tuple(left_out), words=(0, 1))


def _description(score: Score) -> str:
    """What ran; the parity is that on photos and, if there are some, on adversarial images."""
    adversarial = score.adversarial_parity
    on_adversarial = "" if adversarial is None else f", on adversarial images {adversarial}"
    self_check = f", self-check {score.self_check}" if score.self_check else ""
    return (
        f"{score.benchmark}{' (generated)' if score.generated else ''}, {score.model} "
        f"({score.weights}), {score.crop_px} px, {score.engine} {score.precision} on "
        f"{' and '.join(score.devices)}, parity {score.parity}{on_adversarial}"
        f"{self_check}, "
        f"{counted(f'{score.n:,}', score)}"
    )
