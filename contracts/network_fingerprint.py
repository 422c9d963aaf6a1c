"""The fingerprint by which a network is recognised that no hash of its code covers."""

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST_FINGERPRINT_DIFFERENCE = 1e-4
"""Largest relative difference, in L2, of the fingerprints of one network: two machines, or two
numbers of threads, round differently by about 1e-6."""


@dataclass(frozen=True)
class NetworkFingerprint:
    """What a network answers: its logits on two packaged photos.

    Attributes:
        logits: Float32, little-endian, photo after photo, in Base64.
    """

    logits: str

    @classmethod
    def of(cls, logits: "npt.NDArray[np.float32]") -> "NetworkFingerprint":
        """The fingerprint of logits (2, C)."""
        return cls(base64.b64encode(logits.astype("<f4").tobytes()).decode())

    @property
    def sha256(self) -> str:
        """SHA-256 over the logits; the same only if they are, bit for bit."""
        return hashlib.sha256(self.logits.encode()).hexdigest()

    def difference(self, other: "NetworkFingerprint") -> float:
        """Norm of the difference, relative to that of this one; infinite if the sizes differ.

        Example:
            >>> import numpy as np
            >>> one, other = (np.array([[3, 4]], np.float32), np.array([[3, 4.5]], np.float32))
            >>> NetworkFingerprint.of(one).difference(NetworkFingerprint.of(other))
            0.1
        """
        import numpy as np

        ours, theirs = self._values(), other._values()
        if ours.shape != theirs.shape:
            return float("inf")
        error = float(np.linalg.norm(theirs - ours))
        return error / float(np.linalg.norm(ours)) if error else 0.0

    def agrees(self, other: "NetworkFingerprint | None") -> bool:
        """Whether two fingerprints are of one network; any agrees with one that is not known."""
        return other is None or self.difference(other) <= MOST_FINGERPRINT_DIFFERENCE

    def _values(self) -> "npt.NDArray[np.float64]":
        import numpy as np

        return np.frombuffer(base64.b64decode(self.logits), "<f4").astype(np.float64)
