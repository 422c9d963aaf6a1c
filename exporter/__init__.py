"""Models: the zoo, their weights, and the deployable ONNX graph made from them.

Import what you need from the modules; the public way in is ``evaluator.export_model``.
"""
