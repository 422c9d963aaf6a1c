"""Whether a run was made from the network that is given: code can compute something else."""

from collections.abc import Iterator

from ...contracts import MOST_FINGERPRINT_DIFFERENCE, Run
from ...errors import printable
from ..models.resolve import ResolvedModel


def differing_network(
    run: Run, model: ResolvedModel, source: ResolvedModel | None = None
) -> str | None:
    """A sentence on the network that the run was not made from; `None` if there is none.

    Args:
        run: Run, which may be of another model.
        model: Given model, with its self-check.
        source: Given source of a transferred attack, likewise; `None` if it is none.
    """
    return next(_differences(run, model, source), None)


def _differences(run: Run, model: ResolvedModel, source: ResolvedModel | None) -> Iterator[str]:
    manifest, place = run.manifest, printable(run.folder)
    pairs = [(model, manifest.fingerprint)]
    if source is not None:
        pairs.append((source, manifest.source_fingerprint))
    for subject, recorded in pairs:
        fingerprint, name = subject.fingerprint, subject.spec.asked_as
        if fingerprint is None:
            continue
        if recorded is None and not run.knows_network and subject.checked is not None:
            if subject.checked.left_out:
                yield (
                    f"{place} was started by an older version, which took what the "
                    f"{subject.checked.left_out} at the end of {name} gives for logits"
                )
        elif not fingerprint.agrees(recorded):
            assert recorded is not None
            yield (
                f"{place} was made from another network: {name} answers two sample photos "
                f"otherwise now, by {recorded.difference(fingerprint):.2g} of the norm of their "
                f"logits, where one network gives at most {MOST_FINGERPRINT_DIFFERENCE:g}"
            )
