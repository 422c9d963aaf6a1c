"""Arithmetic of PyTorch as float32 says: without TF32, which is on by default on NVIDIA GPUs."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exact_float32(*, deterministic: bool = False) -> Iterator[None]:
    """TF32 off inside the block; with ``deterministic``, cuDNN repeats its results bit for bit."""
    import torch

    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    saved = cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    if deterministic:
        cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark = saved
