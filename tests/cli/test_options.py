"""Options of commands go to the Python API as keywords, which no type checker sees."""

import inspect
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import pytest

import evaluator
from evaluator.cli.attack import AttackOptions, TransferOptions, WhiteboxOptions
from evaluator.cli.bench import BenchOptions
from evaluator.cli.compile import CompileOptions
from evaluator.cli.data import CorruptionOptions, GenerationOptions, PerturbationOptions
from evaluator.cli.export import ExportOptions
from evaluator.cli.maximize import MaximizeOptions
from evaluator.cli.options import (
    EngineOptions,
    GraphOptions,
    NetworkOptions,
    PlanOptions,
    WeightsOptions,
)
from evaluator.cli.parity import ParityOptions
from evaluator.cli.score import ScoreOptions


def keywords(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    (options,) = get_args(get_type_hints(function).get("options")) or (object,)
    return {parameter.name for parameter in parameters} | set(get_type_hints(options))


@pytest.mark.parametrize(
    ("function", "classes", "own"),
    [
        (evaluator.attack_whitebox, (WhiteboxOptions, AttackOptions, WeightsOptions), set()),
        (
            evaluator.attack_transfer,
            (TransferOptions, AttackOptions, WeightsOptions, PlanOptions),
            set(),
        ),
        (evaluator.bench, (BenchOptions, EngineOptions), set()),
        (evaluator.check_parity, (ParityOptions, EngineOptions), {"against"}),
        (evaluator.compile_model, (CompileOptions, EngineOptions), set()),
        (evaluator.corrupt_photos, (CorruptionOptions, GenerationOptions), set()),
        (evaluator.export_model, (ExportOptions, GraphOptions), set()),
        (evaluator.maximize, (MaximizeOptions, NetworkOptions), set()),
        (evaluator.perturb_photos, (PerturbationOptions, GenerationOptions), set()),
        (evaluator.score, (ScoreOptions, EngineOptions), set()),
    ],
)
def test_options_are_keywords_of_the_python_api(
    function: Callable[..., Any], classes: tuple[type, ...], own: set[str]
) -> None:
    names = {name for options in classes for name in get_type_hints(options)}
    assert names - own <= keywords(function)
    # The command line has every keyword but these.
    missing = keywords(function) - names
    assert missing <= {"model", "models", "benchmark", "source", "folder", "progress", "options"}
