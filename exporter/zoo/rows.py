"""What the zoo knows of a model: its row, and where its weights come from."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from ...contracts import Preprocessing
from .architectures import Build


@dataclass(frozen=True)
class Download:
    """Weights at an address; the file's name ends in the start of its SHA-256."""

    url: str

    @property
    def sha256_prefix(self) -> str:
        """The promised start of the file's SHA-256; empty where the name has none."""
        found = re.search(r"-([0-9a-f]{8,64})\.\w+$", self.url)
        return found[1] if found else ""


@dataclass(frozen=True)
class Address:
    """Weights at an address that does not say their hash."""

    url: str


@dataclass(frozen=True)
class NotPublished:
    """No weights that can be had; and why."""

    reason: str


@dataclass(frozen=True)
class PackageFile:
    """Weights inside an installed package."""

    distribution: str
    module: str
    path: str
    sha256: str


@dataclass(frozen=True)
class OfFactory:
    """Weights that a user's factory brings along, or does not."""

    trained: bool


@dataclass(frozen=True)
class ZooModel:
    """A row of the zoo, or what is known of a model beside it in the same words.

    Attributes:
        name: As the command line takes it.
        architecture: The network without its weights.
        build: Makes the network for a crop.
        weights: The default ones.
        preprocessing: With which they were trained.
        parameters: How many; 0 where nobody counted.
        gmac: Of one image; 0 where nobody counted.
        source: Page of the network or its paper.
        licence: Of the weights.
        outputs: How many logits; none where only running it will tell.
    """

    name: str
    architecture: str
    build: Build
    weights: Download | Address | PackageFile | OfFactory | NotPublished
    preprocessing: Preprocessing
    parameters: int
    gmac: float
    source: str
    licence: str
    outputs: int | None = 1000

    @property
    def weights_name(self) -> str:
        """Where the default weights come from, in a word."""
        if isinstance(self.weights, Download | Address):
            return self.weights.url.rsplit("/", 1)[1]
        if isinstance(self.weights, PackageFile):
            return f"package {self.weights.distribution}"
        return "none"

    def document(self) -> dict[str, Any]:
        """The row for programs."""
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
