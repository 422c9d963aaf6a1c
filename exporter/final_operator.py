"""The operator at the end of an ONNX graph, if it makes probabilities of logits."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_KEEP_VALUES = {
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast", "Gather"),
    *("Slice", "Concat", "Add", "Sub", "Mul", "Div", "Mean", "ReduceMean", "ReduceSum", "Clip"),
}
"""Operators that may follow a softmax and leave it the one at the end of the graph."""

_ENDS = {
    "Softmax": "softmax",
    "LogSoftmax": "log-softmax",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "sigmoid",
    "Exp": "exponential",
}


def final_operator(model: "onnx.ModelProto", output: str) -> str:
    """``softmax``, ``log-softmax``, ``sigmoid`` or ``exponential``; empty if it is none of them.

    Args:
        model: Graph.
        output: Name of the tensor with the logits.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    waiting, seen = [output], {output}
    while waiting:
        node = producers.get(waiting.pop())
        if node is None:
            continue
        if node.op_type in _ENDS:
            return _ENDS[node.op_type]
        if node.op_type in _KEEP_VALUES:
            inputs = [name for name in node.input if name not in seen]
            seen.update(inputs)
            waiting += inputs
    return ""
