"""Attacks on one model whose images are classified by another.

Source: Orhan, arXiv 1907.07640: all validation photos, ten steps on ``resnext50_32x4d``, tested on
the other models ("black-box").
"""

from ...contracts import BENCHMARK_INFO, Attack

TRANSFER = Attack(BENCHMARK_INFO["transfer"], protocol="transfer-1")
