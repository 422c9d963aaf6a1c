"""Tuning malloc is asked for once and harmless."""

import platform
import subprocess
import sys

import pytest

from evaluator.system.malloc import keep_freed_memory


def test_it_says_whether_it_took() -> None:
    taken = keep_freed_memory()
    assert isinstance(taken, bool)
    assert keep_freed_memory() is taken
    if not sys.platform.startswith("linux"):
        assert not taken


PROGRAM = """
import resource, sys, threading
import numpy as np
from evaluator.system.malloc import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(100_000_000, np.uint8)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

np.ones(100_000_000, np.uint8)
thread = threading.Thread(target=faults)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another libc")
def test_a_thread_gets_the_same_memory_again_without_page_faults() -> None:
    # The scoring loop calls PyTorch from threads. 100 MB are 24,414 pages, or 48 of 2 MB.
    def faults(how: str) -> int:
        words = [sys.executable, "-c", PROGRAM, how]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        return int(done.stdout)

    assert faults("as found") > 5 * 48 / 2
    assert faults("kept") < 48 / 2
