"""TensorRT plans: building, caching and describing them."""
