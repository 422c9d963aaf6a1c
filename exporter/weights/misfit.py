"""Describing a checkpoint that does not fit a network: what differs, how much, and what to do."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import InputError, printable
from .checkpoints import Checkpoint
from .normalisation import find_normalisations
from .renaming import NetworkState
from .shards import shard_advice

_FEW = 3
"""So many names are listed; of more, patterns are."""


@dataclass(frozen=True)
class Misfit:
    """How a checkpoint differs from a network, in the nearest reading of its names.

    Attributes:
        own: State of the network.
        checkpoint: The checkpoint.
        missing: Names of the network that are not in the checkpoint.
        unknown: Names in the checkpoint that are not the network's.
        wrong_shapes: Texts on tensors that are in both, with different shapes.
    """

    own: NetworkState
    checkpoint: Checkpoint
    missing: Sequence[str]
    unknown: Sequence[str]
    wrong_shapes: Sequence[str] = ()

    def error(self, fault: str) -> InputError:
        """The error; ``fault`` says which weights do not fit what."""
        differences = [
            f"lacks {names_text(self.missing)}" if self.missing else "",
            f"has also {names_text(self.unknown)}" if self.unknown else "",
            f"differs in {len(self.wrong_shapes)} shapes: {self.wrong_shapes[0]}"
            if self.wrong_shapes
            else "",
        ]
        text = ", and ".join(filter(None, differences))
        return InputError(f"{fault}: the checkpoint {text}. {self._advice()}".rstrip())

    def _advice(self) -> str:
        """What would make it work, as far as the difference tells."""
        count = len(self.own.required)
        common = count - len(self.missing)
        if not self.missing:
            return (
                f"The {count} tensors of the network are there. If the others are not needed, save "
                "the checkpoint without them, and give that."
            )
        if advice := shard_advice(self.checkpoint.path):
            return advice
        normalisations = find_normalisations(self.own.tensors)
        if set(self.missing) <= {name for pair in normalisations for name in pair}:
            return (
                "They are the network's own normalisation: make them buffers with "
                "persistent=False, which no checkpoint holds."
            )
        if self._has_prefixes():
            return (
                "Without what is before their names some of these are the network's: rename them, "
                "and give that."
            )
        if common < count / 2 and self.own.has_shapes(self.checkpoint.tensors):
            return (
                "Their shapes are the network's, in the same order: if it is the same network "
                "under other names, rename them with `dict(zip(network.state_dict(), "
                "STATE.values()))`, and give that."
            )
        if common == 0:
            return f"None of the network's {count} names is there: was another network trained?"
        return f"{common} of the network's {count} names are there." if self.unknown else ""

    def _has_prefixes(self) -> bool:
        """Whether the unknown names end with the missing ones, one to one."""
        ends = [m for u in self.unknown for m in self.missing if f".{u}".endswith(f".{m}")]
        return len(self.unknown) == len(ends) and sorted(ends) == sorted(self.missing)


def copies_error(fault: str, copies: list[Mapping[str, str]], name: str) -> InputError:
    """The error for a checkpoint that holds several networks of other weights.

    Args:
        fault: Start of the error: which weights do not fit what.
        copies: Name in the network of each name in the file, for each of them.
        name: Name in the network of a tensor that differs.
    """
    places = " and ".join(map(copy_place, copies))
    return InputError(
        f"{fault}: the checkpoint holds the network more than once, as {places}, and "
        f"{printable(name)} differs between them. Save only the names of the one that is meant, "
        "and give that."
    )


def copy_place(names: Mapping[str, str]) -> str:
    """Pattern of the names in the file of one copy of the network.

    Example:
        >>> copy_place({"ema.module.conv.weight": "conv.weight"})
        'ema.module.*'
    """
    name, new = next(iter(names.items()))
    return f"{printable(name.removesuffix(new))}*"


def names_text(names: Sequence[str]) -> str:
    """Names, if they are few; else patterns with counts.

    Example:
        >>> names_text(["b.bias", "a.bias"])
        'a.bias, b.bias'
        >>> names_text(["fc.weight", "fc.bias", "bn.weight", "bn.bias"])
        '4 tensors: bn.* (2), fc.* (2)'
    """
    names = sorted(map(printable, names))
    if len(names) <= _FEW:
        return ", ".join(names)
    heads, tails = _heads(names), Counter(f"*.{name.rpartition('.')[2]}" for name in names)
    # The last words, where they say it shorter: `*.total_ops` in all layers.
    patterns = tails if len(heads) > _FEW and len(tails) <= 2 else heads
    largest = dict(patterns.most_common(_FEW))
    rest = len(names) - sum(largest.values())
    texts = [f"{x} ({count})" if count > 1 else x for x, count in sorted(largest.items())]
    return f"{len(names)} tensors: {', '.join(texts)}" + (f" and {rest} more" if rest else "")


def _heads(names: list[str]) -> Counter[str]:
    """Names by their first words, as many as all share and one more; a single name is whole."""
    words = [name.split(".") for name in names]
    shared = 0
    while all(len(w) > shared + 1 for w in words) and len({w[shared] for w in words}) == 1:
        shared += 1
    heads = [".".join(w[: shared + 1]) for w in words]
    counts = Counter(heads)
    return Counter(
        f"{head}.*" if counts[head] > 1 else name for head, name in zip(heads, names, strict=True)
    )
