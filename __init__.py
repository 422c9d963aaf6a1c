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
    from .workflow.attack.transfer.attack import attack_transfer
    from .workflow.attack.whitebox import attack_whitebox
    from .workflow.bench.bench import bench
    from .workflow.data import corrupt_photos, perturb_photos, sample_photos
    from .workflow.maximize.maximize import maximize
    from .workflow.models.compile import compile_model
    from .workflow.models.export import export_model
    from .workflow.models.listing import list_models
    from .workflow.models.parity import check_parity
    from .workflow.models.parity_baseline import assert_parity
    from .workflow.report.compare import compare
    from .workflow.report.report import report
    from .workflow.score import score

_MODULES = {
    "assert_parity": ".workflow.models.parity_baseline",
    "attack_transfer": ".workflow.attack.transfer.attack",
    "attack_whitebox": ".workflow.attack.whitebox",
    "bench": ".workflow.bench.bench",
    "check_parity": ".workflow.models.parity",
    "compare": ".workflow.report.compare",
    "compile_model": ".workflow.models.compile",
    "corrupt_photos": ".workflow.data",
    "export_model": ".workflow.models.export",
    "list_models": ".workflow.models.listing",
    "maximize": ".workflow.maximize.maximize",
    "perturb_photos": ".workflow.data",
    "report": ".workflow.report.report",
    "sample_photos": ".workflow.data",
    "score": ".workflow.score",
}

__all__ = [
    "assert_parity",
    "attack_transfer",
    "attack_whitebox",
    "bench",
    "check_parity",
    "compare",
    "compile_model",
    "corrupt_photos",
    "export_model",
    "list_models",
    "maximize",
    "perturb_photos",
    "report",
    "sample_photos",
    "score",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
