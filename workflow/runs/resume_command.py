"""The command that completes a run."""

import shlex

from ...contracts import CONDITION_OPTIONS, EngineSpec, ModelSpec
from .scored_run import ScoredRun


def resume_command(scored: ScoredRun) -> str:
    """The command that scores the missing part of a run; the rest is not scored again."""
    run, spec = scored.run, scored.run.manifest.model
    provenance = scored.records.provenance[0]
    words = ["evaluator", "score", spec.asked_as, run.key.benchmark]
    words += [word for path in provenance.data for word in ("--data", path)]
    if provenance.labels is not None:
        words += ["--labels", provenance.labels]
    words += ["--out", str(run.folder), "--engine", run.key.engine.backend]
    for key, option in CONDITION_OPTIONS.items():
        every = {dict(c.values)[key] for c in scored.benchmark.conditions if key in dict(c.values)}
        values = list(dict.fromkeys(str(c[key]) for c in scored.missing)) if every else []
        if values and len(values) < len(every):
            words += [option, ",".join(values)]
    if run.key.limit is not None:
        words += ["--limit", str(run.key.limit)]
    if scored.skipped:
        words += ["--on-error", "skip"]
    return shlex.join([*words, *_model_options(spec, run.key.engine)])


def _model_options(spec: ModelSpec, engine: EngineSpec) -> list[str]:
    options = []
    if spec.weights.kind == "random":
        options += ["--weights", "random", "--seed", spec.weights.reference.split()[-1]]
    if spec.weights.kind == "file":
        options += ["--weights", spec.weights.reference]
    if engine.precision != "fp32":
        options += ["--precision", engine.precision]
    if engine.input_kind != "pixels":
        options += ["--input", engine.input_kind]
    if spec.preprocessing.crop_px != spec.trained_crop_px:
        options += ["--crop-px", str(spec.preprocessing.crop_px)]
    if spec.own is not None:
        options += ["--description", spec.own.description]
    if spec.class_order is not None:
        options += ["--classes", spec.class_order.path]
    return options
