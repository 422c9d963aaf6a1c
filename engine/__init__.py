"""Engines: loaded models that give logits, and the proof that they agree with their reference.

PyTorch in float32 is the reference; ONNX Runtime scores on the CPU and on CUDA.
"""
