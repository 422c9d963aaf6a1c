"""The default folder of a run, and the provenance of its shards."""

import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ...contracts import Provenance
from ...errors import printable
from ...evaluate.jpeg import decoder_versions
from ...records.run import MANIFEST, check_run_folder
from ...storage.atomic import check_place
from ...system.provenance import command_line, package_versions
from ..models.resolve import ResolvedModel
from ..models.verified_engine import VerifiedEngine

PACKAGES = ("evaluator", "numpy", "Pillow")


def default_folder(subject: ResolvedModel, benchmark: str, digits: str) -> Path:
    """``runs/<model>/<benchmark>-<digits>``, in the working directory."""
    model = subject.spec.name.replace(":", "-")
    return Path("runs") / model / f"{benchmark}-{digits}"


def check_run_place(subject: ResolvedModel, benchmark: str, out: Path | None) -> None:
    """Refuse a folder that cannot hold the run, before any work.

    Raises:
        InputError: If the folder holds something else.
        OutputError: If it cannot be written to.
    """
    if out is not None:
        check_run_folder(out)
    else:
        check_place(default_folder(subject, benchmark, "") / MANIFEST)


def circumstances(
    verified: VerifiedEngine, data: Sequence[Path], labels: Path | None, batch_size: int
) -> Provenance:
    """The part of the provenance that all shards of this process share.

    Args:
        verified: Engine, with its parity result.
        data: Folders and tar files that are read.
        labels: File with the list of classes; `None` if not given.
        batch_size: Batch size of the run.
    """
    placement = verified.loaded.placement
    return Provenance(
        host=socket.gethostname(),
        device=placement.device,
        versions=package_versions(PACKAGES) | decoder_versions() | placement.versions(),
        parity=verified.parity,
        parity_status=verified.status,
        self_check=verified.self_check,
        batch_size=batch_size,
        data=tuple(printable(place.absolute()) for place in data),
        data_sha256="",
        started="",
        seconds=0.0,
        command=command_line(),
        plan=verified.loaded.plan_key,
        labels=None if labels is None else printable(labels.absolute()),
    )


class ShardClock:
    """Measures the time that a shard takes, for its provenance."""

    def __init__(self) -> None:
        self._started, self._start_seconds = datetime.now(UTC), time.monotonic()

    def provenance(self, shared: Provenance, batch_size: int, data_sha256: str) -> Provenance:
        """The provenance of the shard, which has just been finished.

        Args:
            shared: Part of the provenance that all shards share.
            batch_size: Largest batch size for which there was memory.
            data_sha256: SHA-256 of what was read for the shard.
        """
        return replace(
            shared,
            batch_size=min(shared.batch_size, batch_size),
            data_sha256=data_sha256,
            started=self._started.isoformat("T", "seconds"),
            seconds=round(time.monotonic() - self._start_seconds, 3),
        )
