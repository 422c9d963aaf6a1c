"""NVIDIA GPUs: streams, events and memory, and the pipeline in which engines use them."""
