"""Names that timm gave up, and hints at names that never lead to other weights.

timm keeps a table of its former names. It is not right everywhere: the WSL models of all widths
lead to the weights of 32x8d there, and some names to weights that were trained further.
"""

import re
from collections.abc import Iterable
from typing import Any

_WIDTH = re.compile(r"\d+x\d+d")

_WEIGHTS_WORDS = (
    {"adv", "ap", "clip", "dino", "dist", "distilled", "ens", "gluon", "ig", "laion2b", "miil"}
    | {"ns", "noisystudent", "robust", "sam", "ssl", "swag", "swsl", "tv", "wsl"}
    | {"in1k", "in21k", "in21ft1k", "in22k", "in22ft1k", "22k", "22kft1k"}
)
"""Words of names that tell weights of one architecture apart."""

_SEPARATORS = re.compile(r"[^a-z0-9]+")


def of_same_weights(name: str, known: Iterable[str]) -> list[str]:
    """The known names that may be meant by a misspelt one without leading to other weights.

    This is the name that differs in capitals and separators only, if there is one; or else the
    names that begin with the given one, if there are any. Else a known name has no fewer words
    than the given one, and a further word for weights only in the place of a misspelt one.

    Example:
        >>> known = ["resnext101_32x8d", "resnext101_32x8d_wsl"]
        >>> of_same_weights("resnext101_32x8", known)
        ['resnext101_32x8d']
        >>> of_same_weights("resnext101_32x8d_wls", known)
        ['resnext101_32x8d_wsl']
        >>> of_same_weights("ResNeXt101-32x8d", known)
        ['resnext101_32x8d']
    """
    known = list(known)
    letters = _SEPARATORS.sub("", name.lower())
    if same := [other for other in known if _SEPARATORS.sub("", other.lower()) == letters]:
        return same
    if longer := [other for other in known if other.lower().startswith(f"{name.lower()}_")]:
        return longer
    words = _SEPARATORS.split(name.lower())
    of_weights = _WEIGHTS_WORDS.intersection(words)
    return [other for other in known if _may_be_meant(len(words), of_weights, other)]


def _may_be_meant(count: int, of_weights: set[str], other: str) -> bool:
    words = _SEPARATORS.split(other.lower())
    added = _WEIGHTS_WORDS.intersection(words) - of_weights
    return of_weights <= set(words) and len(words) >= count and (not added or len(words) == count)


def timm_name(name: str) -> str | None:
    """Name in timm, with a tag if it needs one, of a model that timm has or had under this name.

    Capitals do not count. `None` if timm has none, or is not installed.
    """
    try:
        import timm
    except ImportError:
        return None
    lowered = name.lower()
    if lowered in timm.list_models() or lowered in timm.list_pretrained():
        return lowered
    return _renamed(timm, lowered)


def _renamed(timm: Any, name: str) -> str | None:
    """The present name by timm's own table, corrected for what the former name itself says."""
    present = timm.models.get_deprecated_models().get(name)
    if present is None:
        return None
    architecture, _, tag = present.partition(".")
    if width := _WIDTH.search(name):
        architecture = _WIDTH.sub(width[0], architecture)
    published = timm.list_pretrained(f"{architecture}.*")
    words = set(name.split("_")) - set(architecture.split("_"))
    if words & {"in21k", "in22k"}:  # not trained further on ImageNet-1k
        tag = tag.removesuffix("_ft_in1k")
    if f"{architecture}.{tag}" in published:
        return f"{architecture}.{tag}"
    wanted = set(tag.split("_")) if tag else words
    fitting = [other for other in published if wanted & set(other.partition(".")[2].split("_"))]
    if len(fitting) == 1:
        return str(fitting[0])
    return architecture if not tag and architecture in timm.list_models() else None
