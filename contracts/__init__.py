"""Types that packages exchange: frozen dataclasses and protocols.

N images, C classes, S the crop of the model in pixels. Two image contracts, never mixed:

* **pixels**: (N, S, S, 3) uint8, RGB, exactly as decoded, resized and cropped. Used for scoring.
* **images**: (N, 3, S, S) float32 in [0, 1]. Used for gradients; normalisation is in the model.

Rates are fractions, lengths pixels, times seconds. Nothing here opens a file or imports a
framework.
"""

from .attacks import *
from .benchmark_info import *
from .benchmarks import *
from .documents import *
from .engines import *
from .images import *
from .intervals import *
from .items import *
from .models import *
from .network_fingerprint import *
from .parity import *
from .progress import *
from .runs import *
from .scores import *
from .self_check import *
