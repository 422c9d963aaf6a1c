"""Telling want of memory from other failures: runtimes raise it in many words and few types.

ONNX Runtime's arena says that it failed to allocate, its CUDA provider passes on CUDA's error 2 or
the status of cuBLAS or cuDNN, and its CPU provider C++'s ``bad_alloc``; PyTorch has a type for CUDA
alone, and a plain ``RuntimeError`` for the CPU.
"""

_WORDS = (
    "out of memory",
    "out_of_memory",
    "failed to allocate memory",
    "can't allocate memory",
    "not enough memory",
    "alloc_failed",
    "bad_alloc",
    "bad allocation",
)


def lacks_memory(error: BaseException) -> bool:
    """Whether a runtime's exception says that there is no memory.

    Example:
        >>> lacks_memory(RuntimeError("CUDA failure 2: out of memory ; GPU=0"))
        True
        >>> lacks_memory(RuntimeError("Got invalid dimensions for input: pixels"))
        False
    """
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _WORDS)
