"""The report as one HTML page: collects what needs the runs' files, then renders."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...contracts import Progress
from ...errors import UnavailableError
from ...reporting.html.contents import Drawing, PageContents, RunFacts
from ...reporting.html.drawings import attack_drawings, shape_bias_drawings
from ...reporting.html.page import page
from ...reporting.model_results import ModelResults, ReportContents
from ...reporting.published.paper import published_scores
from ...reporting.table import Table
from ..runs.scored_run import ScoredRun
from .attack_reliability import AssessedAttack
from .examples import example_galleries
from .maximized import maximized_galleries
from .rows import clean_run_of
from .run_facts import run_facts

NO_DRAWINGS = (
    "There are no figures, since matplotlib is not installed: pip install 'evaluator[figures]'"
)


def html_page(
    contents: ReportContents,
    tables: Sequence[Table],
    runs: Sequence[ScoredRun],
    attacks: Sequence[AssessedAttack],
    maximized: Sequence[Path],
    progress: Progress,
) -> str:
    """The page of a report.

    Args:
        contents: Models of the report.
        tables: All its tables.
        runs: All its runs.
        attacks: Assessments of its attacks.
        maximized: Folders of maximizing images.
        progress: Progress callback, called while a tar file is indexed.

    Raises:
        InputError: If a run or a folder of maximizing images is damaged.
        OutputError: If the page is too large.
    """
    galleries, maximized_facts = maximized_galleries(maximized)
    drawings, missing = _drawings(contents)
    return page(
        PageContents(
            models=contents.models,
            published={m.name: _published(m) for m in contents.models},
            published_top1=dict(_published_top1(runs)),
            tables=tables,
            runs=[*_facts(runs), *maximized_facts],
            reliability=[(attack.name, attack.answer()) for attack in attacks],
            table_runs={attack.table().title: attack.run for attack in attacks},
            drawings=drawings,
            no_drawings=missing,
            maximized=galleries,
            examples=list(example_galleries(runs, progress)),
            version=_version(),
        )
    )


def _published(results: ModelResults) -> ModelResults:
    return ModelResults(results.name, results.model, tuple(published_scores(results.model)))


def _published_top1(runs: Sequence[ScoredRun]) -> Iterator[tuple[str, float]]:
    """Top-1 error that is published with the weights, of the runs that keep its preprocessing."""
    for one in runs:
        spec = one.run.manifest.model
        if spec.prepared.top1 is not None and spec.preprocessing.crop_px == spec.trained_crop_px:
            yield str(one.run.folder), round(1 - spec.prepared.top1, 6)


def _facts(runs: Sequence[ScoredRun]) -> Iterator[RunFacts]:
    for one in runs:
        if not one.records.empty:
            relative = one.benchmark.name == "imagenet-c"
            yield run_facts(one, clean_run_of(one, runs) if relative else None)


def _drawings(contents: ReportContents) -> tuple[dict[str, list[Drawing]], str]:
    try:
        drawings = {
            "attacks": list(attack_drawings(contents)),
            "shape-bias": list(shape_bias_drawings(contents)),
        }
    except UnavailableError:
        return {}, NO_DRAWINGS
    return drawings, ""


def _version() -> str:
    from importlib.metadata import version

    return version("evaluator")
