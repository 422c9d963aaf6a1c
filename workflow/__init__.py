"""Jobs: one module each, composing the four wings. No printing; progress by callback.

This is the public Python API; ``import evaluator`` gives its names without loading any of it.
"""
