"""The deployable ONNX graph: folding, overflow, export and cost."""
