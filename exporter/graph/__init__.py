"""The deployable ONNX graph, and what is measured on it."""
