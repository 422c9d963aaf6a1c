"""Models: the zoo, their weights, and the deployable ONNX graph made from them.

Import from the modules; the public function is ``evaluator.export_model``.
"""
