"""The cache: files that can be made or downloaded again."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder of one kind of cached files, such as ``bundles``, ``parity`` or ``weights``.

    It is in ``EVALUATOR_CACHE`` if that is set, else in the platform's cache folder. It may not
    exist yet.
    """
    root = os.environ.get("EVALUATOR_CACHE")
    if root:
        return Path(root).expanduser().absolute() / kind
    import platformdirs

    return Path(platformdirs.user_cache_dir("evaluator", appauthor=False)) / kind
