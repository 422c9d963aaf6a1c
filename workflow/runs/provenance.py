"""Where a run lies unless the user says so, and under which circumstances its shards are made."""

import importlib.metadata
import platform
import shlex
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ...contracts import Device, Provenance
from ...errors import printable
from ...evaluate.jpeg import decoder_versions
from ...records.run import MANIFEST, check_run_folder
from ...storage.atomic import check_place
from ..models.resolve import ResolvedModel
from ..models.verified_engine import VerifiedEngine

PACKAGES = ("evaluator", "numpy", "Pillow")


def default_folder(subject: ResolvedModel, benchmark: str, digits: str) -> Path:
    """``runs/<model>/<benchmark>-<digits>``, in the working directory."""
    model = subject.spec.name.replace(":", "-")
    return Path("runs") / model / f"{benchmark}-{digits}"


def check_run_place(subject: ResolvedModel, benchmark: str, out: Path | None) -> None:
    """Refuse a place where a run cannot be, before the work.

    Raises:
        InputError: If the folder holds something else.
        OutputError: If nothing can be written there.
    """
    if out is not None:
        check_run_folder(out)
    else:
        check_place(default_folder(subject, benchmark, "") / MANIFEST)


def circumstances(
    believed: VerifiedEngine,
    device: Device,
    versions: Mapping[str, str],
    data: Sequence[Path],
    labels: Path | None,
    batch_size: int,
) -> Provenance:
    """What the provenances of all shards of this process share.

    Args:
        believed: What computes, and how far it is believed.
        device: On what.
        versions: Of the packages that compute.
        data: The folders and tars that are read.
        labels: The list of classes that was named, if any.
        batch_size: That is asked of the engine.
    """
    return Provenance(
        host=socket.gethostname(),
        device=device,
        versions={
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
            **decoder_versions(),
            **versions,
        },
        parity=believed.parity,
        parity_status=believed.status,
        batch_size=batch_size,
        data=tuple(printable(place.absolute()) for place in data),
        data_sha256="",
        started="",
        seconds=0.0,
        command=shlex.join([printable(word) for word in ("evaluator", *sys.argv[1:])]),
        labels=None if labels is None else printable(labels.absolute()),
    )


class ShardClock:
    """Since when a shard is being made, of which its provenance speaks once it is finished."""

    def __init__(self) -> None:
        self._started, self._began = datetime.now(UTC), time.monotonic()

    def provenance(self, made: Provenance, batch_size: int, data_sha256: str) -> Provenance:
        """Of the shard, which is finished now.

        Args:
            made: What the provenances of all shards share.
            batch_size: That there was memory for.
            data_sha256: Of what was read for the shard.
        """
        return replace(
            made,
            batch_size=min(made.batch_size, batch_size),
            data_sha256=data_sha256,
            started=self._started.isoformat("T", "seconds"),
            seconds=round(time.monotonic() - self._began, 3),
        )
