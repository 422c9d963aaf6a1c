"""Writing ``generated.json``, which says how data were generated, before the first image.

So unfinished data are marked as well, and every number that comes from them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError, printable
from ...storage.atomic import make_folder
from ...storage.documents import document_differences, write_document
from ..sources.generated_marker import GENERATED, read_marker


def write_marker(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``generated.json`` into a new folder, or compare it with the one of a folder to extend.

    Args:
        folder: The folder of the generated data.
        content: Everything that the files depend on.

    Raises:
        InputError: If the folder holds something else, or was generated in another way.
        OutputError: If the folder cannot be written.
    """
    if os.path.lexists(folder / GENERATED):
        existing = dict(read_marker(folder / GENERATED))
        differences = list(document_differences(existing, dict(content)))
        if differences:
            raise InputError(
                f"{printable(folder / GENERATED)} says that the data were generated differently: "
                f"{'; '.join(differences)}. Give another DIR, or repeat the original options."
            )
        return
    make_folder(folder)
    # A call that was killed at once may have left the file under its temporary name.
    others = [name for name in os.listdir(folder) if not name.startswith(f".{GENERATED}.")]
    if others:
        raise InputError(
            f"DIR {printable(folder)} holds {printable(min(others))} and no {GENERATED}, so it "
            "does not hold generated data. Give a new or an empty DIR."
        )
    write_document(folder / GENERATED, dict(content))
