"""Loading a checkpoint into a network: names, shapes, classes, ties.

The network then holds what the file says; what cannot be read in one way only is refused.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...contracts import ModelSpec, Progress
from ...errors import InputError, printable, reported_as
from ..tensors import uninitialised_names
from .checkpoints import Checkpoint
from .misfit import Misfit, copies_error, copy_place, names_text
from .normalisation import (
    Normalisation,
    applied_normalisation,
    find_normalisations,
    is_identity,
    refuse_other_normalisation,
)
from .renaming import (
    EXTRA_STATE,
    PROFILER,
    UNREAD,
    NetworkState,
    Reading,
    last_word,
    network_state,
    read_names,
    renaming_text,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    State = dict[str, Any]

# Names in DenseNet's published checkpoints have an extra dot, which torchvision removes too.
_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def load_checkpoint(
    network: "nn.Module", checkpoint: Checkpoint, spec: ModelSpec, progress: Progress
) -> None:
    """Load weights, renamed as known here and in the network's own modules.

    The checkpoint must have exactly the tensors of the network, each with its shape, under names
    that can be read in one way only. Half precision is converted to the network's own.

    Raises:
        InputError: If they do not fit; the differences are described.
    """
    tensors, own = checkpoint.tensors, network_state(network)
    for name in [name for name in tensors if _DENSENET_NAME.search(name)]:
        tensors[_DENSENET_NAME.sub(r"\1\2", name)] = tensors.pop(name)
    reading, normalisations = _reading(tensors, own)
    choices = _choices(checkpoint, reading)
    origin = printable(spec.weights.reference) + (f" ({', '.join(choices)})" if choices else "")
    state = _renamed(tensors, reading)
    loading = _Loading(checkpoint, spec.architecture, origin, own, reading, state)
    loading.refuse_shapes_and_types()
    loading.complete_ties()
    loading.load(network)
    loading.refuse_other_values(network)
    loading.refuse_other_copies()
    expected, settings = applied_normalisation(network, spec.preprocessing), checkpoint.settings
    refuse_other_normalisation(loading.fault, normalisations, tensors, expected)
    if not is_identity(expected):
        pairs = find_normalisations(settings)
        refuse_other_normalisation(loading.fault, pairs, settings, expected)
    notes = [*choices, *_remarks(reading, normalisations, own, state)]
    if notes:
        progress.note(f"Weights of {printable(checkpoint.path)}: {', '.join(notes)}.")


def _reading(tensors: Mapping[str, Any], own: NetworkState) -> tuple[Reading, list[Normalisation]]:
    """The reading of the names, and the normalisations in the file that the network lacks."""
    reading = read_names(tensors, own)
    normalisations = find_normalisations(tensors)
    names = [name for pair in normalisations for name in pair]
    if reading.fits or any(reading.names.get(name) in own.tensors for name in names):
        return reading, []
    return read_names(tensors, own, aside=names), normalisations


def _choices(checkpoint: Checkpoint, reading: Reading) -> list[str]:
    """Texts on which weights of the file are used, and under which names."""
    choices = []
    if checkpoint.inside:
        others = f" rather than {' or '.join(checkpoint.beside)}" if checkpoint.beside else ""
        choices.append(printable(f"those of {'/'.join(checkpoint.inside)}{others}"))
    if renaming := renaming_text(reading.names):
        choices.append(printable(renaming))
    return choices


def _remarks(
    reading: Reading, normalisations: list[Normalisation], own: NetworkState, state: "State"
) -> list[str]:
    """Texts on what else is in the file and was checked or left out, or is not in it."""
    remarks = [f"{copy_place(copy)} is an equal copy" for copy in reading.copies]
    remarks += [
        f"{printable(pair.mean)} and {printable(pair.std)} are the model's mean and std"
        for pair in normalisations
    ]
    words = Counter(map(last_word, reading.unread))
    if count := sum(words[word] for word in PROFILER):
        remarks.append(f"{count} counters of a profiler ({', '.join(PROFILER)}) left out")
    if words[EXTRA_STATE]:
        remarks.append(f"{words[EXTRA_STATE]} extra states of modules left out")
    lacking = [name for name in own.tensors if last_word(name) == EXTRA_STATE and name not in state]
    if lacking:
        remarks.append(f"{names_text(lacking)} not in the file: as the network was built")
    return remarks


def _renamed(tensors: Mapping[str, Any], reading: Reading) -> "State":
    """The tensors under the network's names; versions of modules, which torch keeps, go along."""
    state: OrderedDict[str, Any] = OrderedDict(
        (new, tensors[name]) for name, new in reading.names.items()
    )
    metadata = getattr(tensors, "_metadata", None)
    if metadata is not None:
        paths = reading.paths.items()
        state._metadata = {new: metadata[path] for path, new in paths}  # type: ignore[attr-defined]
    return state


@dataclass(frozen=True)
class _Loading:
    """A checkpoint on its way into a network.

    Attributes:
        checkpoint: The checkpoint.
        architecture: Name of the network.
        origin: Text on the weights: their file, and how it is read.
        own: State of the network before.
        reading: Reading of the checkpoint's names, or the nearest one.
        state: Tensors of the checkpoint under the names of the reading.
    """

    checkpoint: Checkpoint
    architecture: str
    origin: str
    own: NetworkState
    reading: Reading
    state: "State"

    @property
    def fault(self) -> str:
        """Start of an error."""
        return f"The weights {self.origin} do not fit {self.architecture}"

    def refuse_shapes_and_types(self) -> None:
        """Refuse tensors that cannot be copied into the network's as they are.

        Raises:
            InputError: If a shape differs, or a tensor is quantised.
        """
        import torch

        floating = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
        common = self._common_tensors()
        wrong = {
            name: (list(value.shape), list(own_value.shape))
            for name, (value, own_value) in sorted(common.items())
            if value.shape != own_value.shape
        }
        texts = [
            f"{printable(name)} is {shape}, expected {own_shape}"
            for name, (shape, own_shape) in wrong.items()
        ]
        if wrong and not self.reading.fits:
            raise self._misfit(*self._differences(), texts)
        self._refuse_classes(wrong)
        if wrong:
            raise InputError(
                f"{self.fault}: the checkpoint differs: {_first_three(texts, len(common))}."
            )
        # load_state_dict would copy the integers of a quantised checkpoint as they are.
        types = [
            f"{printable(name)} is {str(value.dtype).removeprefix('torch.')}"
            for name, (value, own_value) in sorted(common.items())
            if own_value.is_floating_point() and value.dtype not in floating
        ]
        if types:
            raise InputError(
                f"{self.fault}: the checkpoint is quantised: {_first_three(types, len(common))}, "
                "expected floating point."
            )

    def _refuse_classes(self, wrong: Mapping[str, tuple[list[int], list[int]]]) -> None:
        """Name the most frequent misfit: only the head differs, in its number of classes."""
        if not wrong or self.own.required[-1] not in wrong:
            return
        if any(len(shape) == 0 or shape[1:] != own[1:] for shape, own in wrong.values()):
            return
        classes = {(shape[0], own[0]) for shape, own in wrong.values()}
        if len(classes) == 1:
            count, own_count = classes.pop()
            raise InputError(
                f"{self.fault}: the checkpoint is for {count} classes, {self.architecture} has "
                f"{own_count}."
            )

    def complete_ties(self) -> None:
        """Give all names of one tensor in the network the value that the file has under one.

        Raises:
            InputError: If the file has several, which differ.
        """
        for group in sorted(map(sorted, set(self.own.ties.values()))):
            present = [name for name in group if name in self.state]
            for name in present[1:]:
                if not _is_same(self.state[present[0]], self.state[name]):
                    raise InputError(
                        f"{self.fault}: {printable(present[0])} and {printable(name)} are one "
                        "tensor in the network, but two different ones in the checkpoint. Give a "
                        "network in which they are two, or the checkpoint of this one."
                    )
            if present:
                self.state.update(dict.fromkeys(group, self.state[present[0]]))

    def load(self, network: "nn.Module") -> None:
        """Load the tensors; the network's own code may rename them, and may raise anything.

        Raises:
            InputError: If it misses some, or does not know some.
        """
        with reported_as(f"The weights {self.origin} cannot be loaded into {self.architecture}"):
            result = network.load_state_dict(self.state, strict=False)
        missing, unknown = self._differences()
        if hasattr(result, "missing_keys"):  # code of users may forget to return them
            # Checkpoints from before 2018 have no counters.
            missing = [name for name in result.missing_keys if last_word(name) not in UNREAD]
            unknown = list(result.unexpected_keys)
        if missing or unknown or self.reading.strangers:
            raise self._misfit(missing, unknown)

    def _differences(self) -> tuple[list[str], list[str]]:
        """Names that the network misses, and those that it does not have."""
        unknown = [name for name in self.state if name not in self.own.tensors]
        return self.own.missing(self.state), unknown

    def _misfit(
        self, missing: list[str], unknown: list[str], wrong_shapes: Sequence[str] = ()
    ) -> InputError:
        """The error for names that do not fit; those of the file are shown as it has them."""
        names = {new: name for name, new in self.reading.names.items()}
        in_file = [names.get(name, name) for name in unknown] + self.reading.strangers
        misfit = Misfit(self.own, self.checkpoint, missing, in_file, wrong_shapes)
        return misfit.error(self.fault)

    def refuse_other_values(self, network: "nn.Module") -> None:
        """Refuse a network that does not hold what the file says.

        Raises:
            InputError: If a tensor differs.
        """
        different = [
            name
            for name, value in network.state_dict().items()
            if name in self.state
            and last_word(name) not in UNREAD
            and not _is_same(value, self.state[name])
        ]
        if different:
            raise InputError(
                f"{self.fault}: after loading, the network holds other values than the checkpoint "
                f"in {names_text(different)}: its own code changes them. Load them in the factory, "
                "with `trained = true` in the description."
            )

    def refuse_other_copies(self) -> None:
        """Refuse a file with several copies of the network that differ.

        Raises:
            InputError: If a tensor differs.
        """
        for copy in self.reading.copies:
            for name, new in copy.items():
                first = self.state.get(new)
                if first is None or not _is_same(first, self.checkpoint.tensors[name]):
                    raise copies_error(self.fault, [self.reading.names, copy], new)

    def _common_tensors(self) -> dict[str, tuple[Any, Any]]:
        """Tensors of the checkpoint and of the network by name, where the network's has a shape."""
        shapeless = uninitialised_names(self.own.tensors)
        return {
            name: (self.state[name], value)
            for name, value in self.own.tensors.items()
            if name in self.state and name not in shapeless and last_word(name) != EXTRA_STATE
        }


def _first_three(texts: list[str], count: int) -> str:
    rest = f" and {len(texts) - 3} more of {count} tensors" if len(texts) > 3 else ""
    return ", ".join(texts[:3]) + rest


def _is_same(value: "torch.Tensor", other: "torch.Tensor") -> bool:
    """Whether two tensors are equal in the precision of the first; NaN equals NaN."""
    import torch

    if value.shape != other.shape:
        return False
    other = other.detach().to(value.dtype)
    return torch.equal(value, other) or bool(
        ((value == other) | (value.isnan() & other.isnan())).all()
    )
