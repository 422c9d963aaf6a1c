"""Reading the names of a checkpoint as those of a network.

Names differ where the network was wrapped when it was saved, or is wrapped now: DataParallel and
torch.compile put a word of their own into the names (``features.module.0.weight``), a module around
the network a prefix before all of them (``model.conv.weight``). A reading is accepted if it maps
all names of the checkpoint one to one to all names of the network; then there is no other one.
Several complete copies of the network in one file are one reading only if they are equal.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..tensors import COUNTER, tied_names, uninitialised_names

if TYPE_CHECKING:
    from torch import nn

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Names under which PyTorch's wrappers hold their only module."""

EXTRA_STATE = "_extra_state"

PROFILER = ("total_ops", "total_params")
"""Names of the counters that the profiler thop leaves in modules."""

UNREAD = (COUNTER, *PROFILER, "n_averaged", EXTRA_STATE)
"""Last words of names that are not of weights: file and network may differ in them."""


@dataclass(frozen=True)
class NetworkState:
    """State of a network before weights are loaded.

    Attributes:
        tensors: Its ``state_dict``, which may hold extra states that are not tensors.
        required: Names that a checkpoint must have.
        ties: For each name of a tensor that has several, all of them.
    """

    tensors: dict[str, Any]
    required: tuple[str, ...]
    ties: dict[str, frozenset[str]]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Required names that are missing; one name of a tied tensor is enough."""
        present = set(names)
        return [
            name
            for name in self.required
            if name not in present and self.ties.get(name, frozenset()).isdisjoint(present)
        ]

    def has_shapes(self, tensors: Mapping[str, Any]) -> bool:
        """Whether tensors have the shapes of the required ones, in the same order."""
        own = [self.tensors[name] for name in self.required]
        others = [value for name, value in tensors.items() if not _is_unread(name, value)]
        return not uninitialised_names(self.tensors) and (
            [value.shape for value in own] == [value.shape for value in others]
        )


@dataclass(frozen=True)
class Reading:
    """One way to read the names of a checkpoint.

    Attributes:
        names: Name in the network of each name in the file. Some may not be the network's, whose
            own code may know them.
        strangers: Names in the file that cannot be names of the network.
        unread: Names in the file that are left out, since nothing reads them.
        copies: Names of further copies of the network, as in ``names``.
        paths: Path in the network of each module's path in the file.
        fits: Whether it is one to one.
    """

    names: dict[str, str]
    strangers: list[str]
    unread: list[str]
    copies: list[dict[str, str]]
    paths: dict[str, str]
    fits: bool


def network_state(network: "nn.Module") -> NetworkState:
    """State of a network."""
    tensors = network.state_dict()
    required = tuple(name for name, value in tensors.items() if not _is_unread(name, value))
    return NetworkState(tensors, required, tied_names(tensors))


def read_names(
    tensors: Mapping[str, Any], own: NetworkState, *, aside: Collection[str] = ()
) -> Reading:
    """The reading of a checkpoint's names, or the nearest one if none fits.

    Args:
        tensors: Tensors of the checkpoint by their names in the file.
        own: State of the network.
        aside: Names in the file that are known not to be the network's; they are not read.
    """
    return _Names(tensors, own, frozenset(aside)).reading()


class _Names:
    """Names of a checkpoint and of a network, both without wrappers and their common prefix."""

    def __init__(
        self, tensors: Mapping[str, Any], own: NetworkState, aside: frozenset[str]
    ) -> None:
        self.tensors, self.own = tensors, own
        self.shapeless = set(uninitialised_names(own.tensors))
        names = [name for name in tensors if name not in aside]
        self.unread = {name for name in names if _is_unread(name, tensors[name])}
        self.wrapped = _wrapped_paths(name for name in names if name not in self.unread)
        self.plain = {name: _without_wrappers(name, self.wrapped) for name in names}
        self.own_wrapped = _wrapped_paths(own.required)
        own_plain = {name: _without_wrappers(name, self.own_wrapped) for name in own.tensors}
        self.own_prefix = _common_prefix([own_plain[name] for name in own.required])
        self.own_names = {
            plain[len(self.own_prefix) :]: name
            for name, plain in own_plain.items()
            if plain.startswith(self.own_prefix)
        }
        self.modules = list(getattr(tensors, "_metadata", ()))

    def reading(self) -> Reading:
        """The reading that fits, else that of most tensors, if they are half of the network's."""
        votes = self._votes()
        complete = self._complete_groups(list(votes))
        most = max(votes, key=lambda prefix: (votes[prefix], -len(prefix)), default="")
        likely = most if 2 * votes[most] >= len(self.own.required) else ""
        prefix = next(iter(complete), likely)
        copies = [group for other, group in complete.items() if other != prefix]
        copied = set().union(*copies)
        names: dict[str, str] = {}
        strangers, unread = [], []
        for name in [name for name in self.plain if name not in copied]:
            own_name, is_known = self._own_name(name, prefix)
            if is_known:
                names[name] = own_name
            elif name in self.unread:
                unread.append(name)
            elif not own_name or own_name in self.own.tensors:
                strangers.append(name)
            else:
                names[name] = own_name
        known = set(names.values()) <= self.own.tensors.keys()
        fits = known and not strangers and not self.own.missing(names.values())
        unchanged = all(name == new for name, new in names.items())
        paths = {path: path for path in self.modules} if unchanged else self._paths(prefix)
        return Reading(names, strangers, unread, copies, paths, fits)

    def _own_name(self, name: str, prefix: str) -> tuple[str, bool]:
        """Name in the network, empty if it has another prefix; whether the network has it."""
        plain = self.plain[name]
        if not plain.startswith(prefix):
            return "", False
        short = plain[len(prefix) :]
        own_name = self.own_names.get(short)
        return own_name or self.own_prefix + short, own_name is not None

    def _votes(self) -> Counter[str]:
        """Prefixes under which names of the network are found.

        Returns:
            For each of them, how many tensors have the shape of the network's.
        """
        votes: Counter[str] = Counter()
        for name, plain in self.plain.items():
            if name in self.unread:
                continue
            words = plain.split(".")
            for position in range(len(words)):
                suffix = ".".join(words[position:])
                if suffix in self.own_names:
                    has_shape = self._has_shape(name, self.own_names[suffix])
                    votes[plain[: len(plain) - len(suffix)]] += has_shape
        return votes

    def _has_shape(self, name: str, own_name: str) -> bool:
        return own_name in self.shapeless or self.tensors[name].shape == (
            self.own.tensors[own_name].shape
        )

    def _complete_groups(self, prefixes: list[str]) -> dict[str, dict[str, str]]:
        """Prefixes under which there are all names of the network and no others, inner ones first.

        What belongs to an inner one is not counted again.
        """
        complete: dict[str, dict[str, str]] = {}
        for prefix in sorted(prefixes, key=len, reverse=True):
            inner = tuple(complete)
            group = {
                name: self.own_names.get(plain[len(prefix) :], "")
                for name, plain in self.plain.items()
                if plain.startswith(prefix)
                and not plain.startswith(inner)
                and name not in self.unread
            }
            if all(group.values()) and not self.own.missing(group.values()):
                complete[prefix] = group
        return dict(sorted(complete.items(), key=lambda item: len(item[0])))

    def _paths(self, prefix: str) -> dict[str, str]:
        """Paths of modules; a wrapper and the module in it have one path, that of the inner one."""
        before, after = _change(f"{prefix}x", f"{self.own_prefix}x")
        own_paths = {}
        for name in self.own_names.values():
            words = name.split(".")
            for length in range(len(words)):
                path = ".".join(words[:length])
                own_paths[_path_without_wrappers(path, self.own_wrapped)] = path
        paths = {}
        for path in self.modules:
            words = _path_without_wrappers(path, self.wrapped).split(".")
            wrapper = before.split(".") if before else []
            if words[: len(wrapper)] == wrapper:
                inside = [word for word in (after, *words[len(wrapper) :]) if word]
                paths[path] = own_paths.get(".".join(inside), ".".join(inside))
        return paths


def last_word(name: str) -> str:
    """The name of a tensor in its module."""
    return name.rpartition(".")[2]


def _is_unread(name: str, value: Any) -> bool:
    last = last_word(name)
    return last in (COUNTER, EXTRA_STATE) or (last in UNREAD and value.numel() == 1)


def _wrapped_paths(names: Iterable[str]) -> frozenset[str]:
    """Paths of modules whose only child is called like that of a wrapper."""
    children: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        words = name.split(".")
        for length, word in enumerate(words):
            last = length == len(words) - 1
            children[".".join(words[:length])].add("" if last else word)
    return frozenset(
        path for path, words in children.items() if len(words) == 1 and words.issubset(WRAPPERS)
    )


def _without_wrappers(name: str, wrapped: frozenset[str]) -> str:
    words = name.split(".")
    kept = [
        word
        for length, word in enumerate(words)
        if length == len(words) - 1
        or word not in WRAPPERS
        or ".".join(words[:length]) not in wrapped
    ]
    return ".".join(kept)


def _path_without_wrappers(path: str, wrapped: frozenset[str]) -> str:
    name = _without_wrappers(f"{path}.tensor" if path else "tensor", wrapped)
    return name.rpartition(".")[0]


def _common_prefix(names: list[str]) -> str:
    """The longest prefix of whole words, with its dot, that all names have."""
    if not names:
        return ""
    paths = [name.split(".")[:-1] for name in names]
    first, last = min(paths), max(paths)
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return "".join(f"{word}." for word in first[:length])


def renaming_text(names: Mapping[str, str]) -> str:
    """Text on how names are read; empty if they are those of the network.

    Example:
        >>> renaming_text({"model.conv.weight": "conv.weight"})
        'without model. before their names'
        >>> renaming_text({"a.module.0.bias": "a.0.bias", "b.bias": "b.bias"})
        'a.module. as a.'
    """
    changes = dict.fromkeys(_change(name, new) for name, new in names.items())
    texts = [_change_text(*change) for change in changes if change != ("", "")]
    rest = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return ", ".join(texts[:3]) + rest


def _change(name: str, new: str) -> tuple[str, str]:
    """What differs before the words that both names end with."""
    words, new_words = name.split("."), new.split(".")
    while words and new_words and words[-1] == new_words[-1]:
        del words[-1], new_words[-1]
    return ".".join(words), ".".join(new_words)


def _change_text(before: str, after: str) -> str:
    if not after:
        return f"without {before}. before their names"
    return f"{before}. as {after}." if before else f"with {after}. before their names"
