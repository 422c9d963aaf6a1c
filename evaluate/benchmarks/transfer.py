"""Attacks that were made on one model and are classified by another: what a report must know.

Source: Orhan, arXiv 1907.07640: all validation photos, ten steps on ``resnext50_32x4d``, tested on
the other models ("black-box").
"""

from dataclasses import replace

from ...contracts import BENCHMARK_INFO
from .whitebox import WHITEBOX

TRANSFER = replace(
    WHITEBOX,
    info=BENCHMARK_INFO["transfer"],
    protocol="transfer-1",
)
