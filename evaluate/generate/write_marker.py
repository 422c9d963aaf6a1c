"""``generated.json``: how a tree was made, said before it holds an image.

A tree that is only half made is marked as well, and every number that comes from it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError, printable
from ...storage.atomic import make_folder
from ...storage.documents import document_differences, write_document
from ..sources.generated_marker import GENERATED, read_mark


def mark_tree(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Mark a new tree, or find that one that is there was made in the same way.

    Args:
        folder: The tree.
        recipe: All that its files depend on.

    Raises:
        InputError: If the folder holds something else, or was made in another way: what differs.
        OutputError: If the folder cannot be written.
    """
    if os.path.lexists(folder / GENERATED):
        there = dict(read_mark(folder / GENERATED))
        differences = list(document_differences(there, dict(recipe)))
        if differences:
            raise InputError(
                f"{printable(folder / GENERATED)} says that the tree was made otherwise: "
                f"{'; '.join(differences)}. Give another DIR, or what the tree was made with."
            )
        return
    make_folder(folder)
    # A call that was killed at once may have left the mark under its temporary name.
    others = [name for name in os.listdir(folder) if not name.startswith(f".{GENERATED}.")]
    if others:
        raise InputError(
            f"DIR {printable(folder)} holds {printable(min(others))} and no {GENERATED}, so it is "
            "no tree that was generated. Give a new or an empty DIR."
        )
    write_document(folder / GENERATED, dict(recipe))
