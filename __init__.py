"""Robustness of image classifiers, in numbers that can be compared with the literature.

    import evaluator
    exported = evaluator.export_model("efficientnet_lite0")
    run = evaluator.score("efficientnet_lite0", "imagenet-c", "imagenet-c")
    print(evaluator.report(run.folder).markdown())

Each function is imported on first use, so importing this package is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluate.generate.corruptions import corrupt_photos as corrupt_photos
    from .evaluate.generate.perturbations import perturb_photos as perturb_photos
    from .evaluate.generate.photos import sample_photos as sample_photos
    from .workflow.attack.transfer.attack import attack_transfer as attack_transfer
    from .workflow.attack.whitebox import attack_whitebox as attack_whitebox
    from .workflow.bench.bench import bench as bench
    from .workflow.data.fetch import fetch_data as fetch_data
    from .workflow.data.verify import verify_data as verify_data
    from .workflow.gate.gate import gate as gate
    from .workflow.maximize.maximize import maximize as maximize
    from .workflow.models.compile import compile_model as compile_model
    from .workflow.models.export import export_model as export_model
    from .workflow.models.listing import list_models as list_models
    from .workflow.models.parity import check_parity as check_parity
    from .workflow.models.parity_baseline import assert_parity as assert_parity
    from .workflow.report.compare import compare as compare
    from .workflow.report.report import report as report
    from .workflow.reproduce.reproduce import reproduce as reproduce
    from .workflow.runs.opened_run import open_run as open_run
    from .workflow.score import score as score

_MODULES = {
    "assert_parity": ".workflow.models.parity_baseline",
    "attack_transfer": ".workflow.attack.transfer.attack",
    "attack_whitebox": ".workflow.attack.whitebox",
    "bench": ".workflow.bench.bench",
    "check_parity": ".workflow.models.parity",
    "compare": ".workflow.report.compare",
    "compile_model": ".workflow.models.compile",
    "corrupt_photos": ".evaluate.generate.corruptions",
    "export_model": ".workflow.models.export",
    "fetch_data": ".workflow.data.fetch",
    "gate": ".workflow.gate.gate",
    "list_models": ".workflow.models.listing",
    "maximize": ".workflow.maximize.maximize",
    "open_run": ".workflow.runs.opened_run",
    "perturb_photos": ".evaluate.generate.perturbations",
    "report": ".workflow.report.report",
    "reproduce": ".workflow.reproduce.reproduce",
    "sample_photos": ".evaluate.generate.photos",
    "score": ".workflow.score",
    "verify_data": ".workflow.data.verify",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
