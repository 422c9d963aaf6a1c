"""A session of ONNX Runtime as a program of a GPU: its inputs and outputs stay on the device."""

from typing import Any

import numpy as np

from .protocols import DeviceMemory, Stream


class OnnxProgram:
    """A session on CUDA that computes in a stream of ours; see ``Program``.

    Values are bound by address, so ONNX Runtime copies nothing itself. By default it would wait for
    the stream before and after each batch.
    """

    runtime = "ONNX Runtime"
    fixed_rows: int | None = None

    def __init__(self, session: Any, options: Any, device: str) -> None:
        """Describe the graph.

        Args:
            session: Session that was made with the pipeline's compute stream; its graph has one
                input (N, ...) and one output (N, C).
            options: Run options of all batches, which are changed not to wait.
            device: Kind and index of the memory: ``cuda:0``, in tests ``cpu``.
        """
        self._session, self._options = session, options
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._kind, _, index = device.partition(":")
        self._index = int(index or 0)
        (self._input,), (self._output,) = session.get_inputs(), session.get_outputs()
        self.row_shape: tuple[int, ...] = tuple(self._input.shape[1:])
        self.input_dtype = np.dtype(np.uint8 if "uint8" in self._input.type else np.float32)
        self.classes = int(self._output.shape[1])

    def enqueue(
        self, rows: int, source: DeviceMemory, target: DeviceMemory, stream: Stream
    ) -> None:
        """Run the session, whose stream is this one."""
        binding = self._session.io_binding()
        place = (self._kind, self._index)
        shape = (rows, *self.row_shape)
        binding.bind_input(self._input.name, *place, self.input_dtype, shape, source.address)
        shape = (rows, self.classes)
        binding.bind_output(self._output.name, *place, np.float32, shape, target.address)
        self._session.run_with_iobinding(binding, self._options)

    def close(self) -> None:
        """Let go of the session."""
        self._session = None
