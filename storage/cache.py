"""Where the tool keeps what it can make or fetch again."""

import os
from pathlib import Path


def cache_folder(room: str) -> Path:
    """The folder of one kind of cached thing: ``bundles``, ``parity``, ``weights``.

    It lies in ``EVALUATOR_CACHE``, else in the platform's cache folder. It may not exist yet.
    """
    chosen = os.environ.get("EVALUATOR_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute() / room
    import platformdirs

    return Path(platformdirs.user_cache_dir("evaluator", appauthor=False)) / room
