"""Row types of the zoo: a model, and the origin of its weights."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from ...contracts import Preprocessing
from .architectures import Build

UNKNOWN_LICENCE = "not said"
SEE_WEIGHTS_PAGE = "see the weights' page"


@dataclass(frozen=True)
class Download:
    """Weights at an address, whose file name may end with the start of the file's SHA-256."""

    url: str

    @property
    def sha256_prefix(self) -> str:
        """The start of the file's SHA-256; empty if the name does not have it."""
        match = re.search(r"-([0-9a-f]{8,64})\.\w+$", self.url)
        return match[1] if match else ""


@dataclass(frozen=True)
class NotPublished:
    """The reason why a model has no default weights."""

    reason: str


@dataclass(frozen=True)
class PackageFile:
    """Weights inside an installed package."""

    distribution: str
    module: str
    path: str
    sha256: str


@dataclass(frozen=True)
class FactoryWeights:
    """Weights of the network that a user's factory builds, if it is trained."""

    trained: bool


@dataclass(frozen=True)
class ZooModel:
    """A row of the zoo, or a model of another library or factory in the same form.

    Attributes:
        name: Name on the command line.
        architecture: Name of the network without its weights.
        build: Builder of the network for a crop.
        weights: Default weights.
        preprocessing: Preprocessing that the weights were trained with.
        parameters: Number of parameters; 0 if not counted.
        gmac: GMAC of one image; 0 if not counted.
        source: Address of the network's page or paper.
        licence: Licence of the weights.
        outputs: Number of logits; `None` if it is known only by running the network.
    """

    name: str
    architecture: str
    build: Build
    weights: Download | PackageFile | FactoryWeights | NotPublished
    preprocessing: Preprocessing
    parameters: int
    gmac: float
    source: str
    licence: str
    outputs: int | None = 1000

    @property
    def weights_name(self) -> str:
        """Short name of where the default weights come from."""
        if isinstance(self.weights, Download):
            return self.weights.url.rsplit("/", 1)[1]
        if isinstance(self.weights, PackageFile):
            return f"package {self.weights.distribution}"
        return "none"

    def document(self) -> dict[str, Any]:
        """The row as it is written to JSON."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "parameters": self.parameters,
            "gmac": self.gmac,
            "preprocessing": asdict(self.preprocessing),
            "weights": asdict(self.weights),
            "source": self.source,
            "licence": self.licence,
        }
