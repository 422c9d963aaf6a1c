"""Engines: loaded models that give logits, and their parity with the reference.

PyTorch in float32 is the reference; ONNX Runtime scores on the CPU and on CUDA.
"""
