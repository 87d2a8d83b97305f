"""From a user's own module to its layout: which weights belong to which neuron.   Spec: submodel, rule SUB-6.

The module is traced symbolically and run once on zeros. It must be a chain: convolutions, poolings, one flattening, LSTM
and dense layers, and between them operations that leave neurons apart. Whatever else it does is refused by name, since a wrong
guess would train a different model than the one that was pruned.
"""

import copy
import math
import operator
from enum import Enum
from typing import Any, Final

import attrs
import torch
from torch import fx, nn
from torch.nn import functional

from clip_ref.errors import PreconditionError
from clip_ref.layout import Axis, Layer, Layout, Tensor


class _Kind(Enum):
    """What an operation does to neurons."""

    INPUT = "the examples come in"
    OUTPUT = "the result goes out"
    DENSE = "a dense layer of new neurons"
    CONV = "a convolution, whose channels are new neurons"
    LSTM = "a recurrent layer, whose hidden units are new neurons"
    ONE_HOT = "makes vectors of the symbols that come in"
    PICK = "takes a part"
    POOL = "works on each channel by itself"
    FLAT = "lays each example out flat, channel by channel"
    SAME = "works on each number by itself"
    SOFT = "mixes the numbers of an example"
    SIZE = "reads a size"


_MODULES: Final[dict[type[nn.Module], _Kind]] = {
    nn.Linear: _Kind.DENSE,
    nn.Conv2d: _Kind.CONV,
    nn.LSTM: _Kind.LSTM,
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), _Kind.POOL),
    nn.Flatten: _Kind.FLAT,
    **dict.fromkeys((nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.SiLU), _Kind.SAME),
    **dict.fromkeys((nn.Dropout, nn.Dropout2d, nn.Identity), _Kind.SAME),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), _Kind.SOFT),
}
_FUNCTIONS: Final[dict[Any, _Kind]] = {
    **dict.fromkeys(
        (functional.max_pool2d, functional.avg_pool2d, functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d),
        _Kind.POOL,
    ),
    **dict.fromkeys((torch.flatten, torch.reshape), _Kind.FLAT),
    **dict.fromkeys(
        (
            functional.relu,
            functional.leaky_relu,
            functional.gelu,
            functional.elu,
            functional.silu,
            torch.relu,
            torch.tanh,
            torch.sigmoid,
        ),
        _Kind.SAME,
    ),
    **dict.fromkeys((functional.dropout, functional.dropout2d), _Kind.SAME),
    functional.one_hot: _Kind.ONE_HOT,
    **dict.fromkeys((functional.softmax, functional.log_softmax, torch.softmax, torch.log_softmax), _Kind.SOFT),
    getattr: _Kind.SIZE,
    operator.getitem: _Kind.PICK,
}
_METHODS: Final[dict[str, _Kind]] = {
    **dict.fromkeys(("flatten", "view", "reshape"), _Kind.FLAT),
    **dict.fromkeys(("relu", "tanh", "sigmoid", "contiguous", "long", "float"), _Kind.SAME),
    **dict.fromkeys(("softmax", "log_softmax"), _Kind.SOFT),
    "size": _Kind.SIZE,
}

_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm2d, nn.LocalResponseNorm, nn.CrossMapLRN2d)
_REASONS: Final[dict[type[nn.Module], str]] = {
    **dict.fromkeys(
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
        "batch normalisation keeps running statistics of every neuron, which this version cannot prune; leave it out",
    ),
    **dict.fromkeys(_NORMS, "it normalises over neurons, so that pruning one would change the others; leave it out"),
    **dict.fromkeys((nn.RNN, nn.GRU), "of the recurrent layers only LSTM can be pruned in this version"),
}


def _refuse(detail: str) -> PreconditionError:
    return PreconditionError(rule="SUB-6", detail=detail)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@attrs.frozen
class _Flow:
    """What one example looks like at some point of the chain."""

    shape: tuple[int, ...]
    """Its shape: [channels, height, width], [features], or [steps, features]."""

    layer: str | None = None
    """The prunable layer whose neurons run along the first axis, of a sequence the last; none: the inputs or outputs."""

    inner: int = 1
    """How many neighbouring indices of that axis belong to one neuron."""

    sequence: bool = False
    """Whether it is what an LSTM layer gives at every step."""

    pair: bool = False
    """Whether it is still the pair that an LSTM layer gives: the sequence, and the last states."""

    @property
    def axis(self) -> Axis:
        """The input axis of a layer that this flows into."""
        return Axis(size=self.shape[-1 if self.sequence else 0], layer=self.layer, inner=self.inner)


class _Walk(fx.Interpreter):
    """Runs a traced module on zeros; refuses each operation before it runs, or follows the neurons through it after."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.extra_traceback = False
        self.flows: dict[fx.Node, _Flow] = {}
        self.consumed: set[fx.Node] = set()
        self.shapes: set[fx.Node] = set()
        self.batch_sizes: set[fx.Node] = set()
        self.tensors: dict[str, Tensor] = {}
        self.layers: list[Layer] = []
        self.layer_nodes = [n for n in traced.graph.nodes if n.op == "call_module" and self._has_parameters(n)]
        self.passed = 0

    def _has_parameters(self, node: fx.Node) -> bool:
        return next(self.fetch_attr(str(node.target)).parameters(), None) is not None

    def run_node(self, n: fx.Node) -> Any:
        """Check one operation, run it, follow the neurons through it."""
        if n.target is operator.getitem and not n.users:
            return super().run_node(n)  # the `_` of x, _ = lstm(x)
        kind = self._kind(n)
        before = self._before(n, kind)
        if before is not None:
            self._check(n, kind, before)
        try:
            value = super().run_node(n)
        except Exception as error:
            shape = None if before is None else list(before.shape)
            raise _refuse(f"{self._what(n)} fails on inputs of shape {shape}: {_first_line(error)}") from error
        self._follow(n, kind, before, value)
        return value

    def _what(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"submodule {node.target} ({type(self.fetch_attr(str(node.target))).__name__})"
        if node.op == "call_function":
            return f"operation {getattr(node.target, '__name__', node.target)}"
        if node.op == "call_method":
            return f"operation {node.target}"
        return "returning the outputs" if node.op == "output" else f"tensor {node.target}"

    def _kind(self, node: fx.Node) -> _Kind:
        if node.op == "placeholder":
            if self.flows:
                raise _refuse(f"forward takes a second input, {node.target}; it must take the examples alone")
            return _Kind.INPUT
        if node.op == "output":
            return _Kind.OUTPUT
        kind, reason = None, "it is not among the operations that are known to keep neurons apart"
        if node.op == "call_module":
            module = type(self.fetch_attr(str(node.target)))
            kind, reason = _MODULES.get(module), _REASONS.get(module, reason)
        elif node.op == "call_function":
            kind = _FUNCTIONS.get(node.target)
            if kind is _Kind.PICK and node.args[0] not in self.flows:
                kind = _Kind.SIZE
        elif node.op == "call_method":
            kind = _METHODS.get(str(node.target))
        elif node.op == "get_attr":
            reason = "it is used by itself; every weight must belong to a Linear, Conv2d or LSTM submodule"
        if kind is None:
            self._before(node, kind)
            raise _refuse(f"{self._what(node)} cannot be made smaller: {reason}")
        return kind

    def _before(self, node: fx.Node, kind: _Kind | None) -> _Flow | None:
        sources: list[fx.Node] = []
        fx.node.map_arg((node.args, node.kwargs), sources.append)
        tensors = [source for source in sources if source in self.flows]
        if kind is _Kind.OUTPUT and (not tensors or not isinstance(node.args[0], fx.Node)):
            raise _refuse("forward must return one tensor, the outputs")
        if len(tensors) > 1:
            raise _refuse(
                f"{self._what(node)} joins two branches: a neuron pruned in one would have to be pruned in the other"
            )
        if not tensors:
            return None
        if kind is not _Kind.SIZE:
            if tensors[0] in self.consumed:
                raise _refuse(f"{self._what(node)} opens a second branch; only a chain of layers can be made smaller")
            self.consumed.add(tensors[0])
        return self.flows[tensors[0]]

    def _check(self, node: fx.Node, kind: _Kind, before: _Flow) -> None:
        what, dimensions = self._what(node), len(before.shape)
        if before.pair and kind is not _Kind.PICK:
            raise _refuse(f"{what} takes both results of an LSTM; take the first: x, _ = lstm(x)")
        if kind is _Kind.DENSE and dimensions != 1:
            raise _refuse(f"{what} takes inputs of shape {list(before.shape)}; flatten them first, with flatten(x, 1)")
        if kind in (_Kind.CONV, _Kind.POOL) and dimensions != 3:
            raise _refuse(f"{what} needs inputs of shape [channels, height, width], not {list(before.shape)}")
        if kind is _Kind.LSTM:
            self._check_lstm(node, what, before)
        if kind is _Kind.PICK:
            self._check_pick(node, what, before)
        if kind is _Kind.ONE_HOT and before.layer is not None:
            raise _refuse(f"{what} may only be applied to the examples themselves")
        if before.sequence and kind in (_Kind.FLAT, _Kind.SOFT):
            raise _refuse(f"{what} takes a sequence; go on with its last step alone, x[:, -1]")
        if kind in (_Kind.DENSE, _Kind.CONV):
            if f"{node.target}.weight" in self.tensors:
                raise _refuse(f"{what} is used twice: its neurons would belong to two layers")
            if kind is _Kind.CONV and self.fetch_attr(str(node.target)).groups != 1:
                raise _refuse(f"{what} has groups, which tie its channels to those before it; use groups=1")
        if kind is _Kind.FLAT:
            self._check_flat(node, what)
        if kind is _Kind.SOFT and self.passed < len(self.layer_nodes):
            raise _refuse(f"{what} mixes the neurons of a hidden layer; it may only follow the output layer")

    def _check_lstm(self, node: fx.Node, what: str, before: _Flow) -> None:
        module = self.fetch_attr(str(node.target))
        if len(before.shape) != 2 or (before.layer is not None and not before.sequence):
            raise _refuse(f"{what} needs inputs of shape [steps, features], not {list(before.shape)}")
        if module.num_layers != 1 or module.bidirectional or module.proj_size or not module.batch_first:
            raise _refuse(
                f"{what} must be LSTM(..., batch_first=True) of one layer and one direction, without projection; stack "
                "several for more layers"
            )
        if f"{node.target}.weight_ih_l0" in self.tensors:
            raise _refuse(f"{what} is used twice: its neurons would belong to two layers")
        if len(node.args) != 1 or node.kwargs:
            raise _refuse(f"{what} is given states to begin with; they must be zero")

    def _check_pick(self, node: fx.Node, what: str, before: _Flow) -> None:
        which = node.args[1]
        last = which in ((slice(None), -1), (slice(None), -1, slice(None)))
        if before.pair and which != 0:
            raise _refuse(f"{what} takes the states of an LSTM; take its first result, x, _ = lstm(x)")
        if not before.pair and not (before.sequence and last):
            raise _refuse(f"{what} takes a part of each example; of a sequence, the last step may be taken: x[:, -1]")

    def _check_flat(self, node: fx.Node, what: str) -> None:
        if node.op == "call_module":
            module = self.fetch_attr(str(node.target))
            good = (module.start_dim, module.end_dim) == (1, -1)
        elif node.target in ("flatten", torch.flatten):
            given = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
            good = (given.get("start_dim", 0), given.get("end_dim", -1)) == (1, -1)
        else:
            sizes = node.args[1:] or tuple(node.kwargs.values())
            if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
                sizes = tuple(sizes[0])
            good = len(sizes) == 2 and sizes[0] in self.batch_sizes and bool(sizes[1] == -1)
        if not good:
            raise _refuse(
                f"{what} must flatten each example whole, without fixed sizes that a smaller model breaks: "
                "use flatten(x, 1)"
            )

    def _follow(self, node: fx.Node, kind: _Kind, before: _Flow | None, value: Any) -> None:
        if kind is _Kind.SIZE:
            self._follow_size(node)
        elif kind is _Kind.LSTM:
            assert before is not None
            self.flows[node] = self._follow_lstm(node, before)
        elif kind is not _Kind.OUTPUT:
            if not isinstance(value, torch.Tensor):
                raise _refuse(f"{self._what(node)} gives more than one tensor")
            shape = tuple(value.shape[1:])
            if before is None:
                self.flows[node] = _Flow(shape=shape)
            elif kind in (_Kind.DENSE, _Kind.CONV):
                self.flows[node] = self._follow_layer(node, before, shape)
            elif kind is _Kind.PICK:
                self.flows[node] = attrs.evolve(before, shape=shape, pair=False, sequence=before.pair)
            elif kind is _Kind.FLAT and before.layer is not None:
                inner = before.inner * math.prod(before.shape[1:])
                self.flows[node] = _Flow(shape=shape, layer=before.layer, inner=inner)
            else:
                self.flows[node] = attrs.evolve(before, shape=shape)

    def _follow_layer(self, node: fx.Node, before: _Flow, shape: tuple[int, ...]) -> _Flow:
        self.passed += 1
        name = str(node.target)
        layer = name if self.passed < len(self.layer_nodes) else None
        module = self.fetch_attr(name)
        if layer is not None:
            self.layers.append(Layer(name=layer, neurons=shape[0]))
        out = Axis(size=shape[0], layer=layer)
        taps = tuple(Axis(size=size) for size in module.weight.shape[2:])
        weight = Tensor(f"{name}.weight", (out, before.axis, *taps), uses=math.prod(shape[1:]))
        self.tensors[weight.name] = weight
        if module.bias is not None:
            self.tensors[f"{name}.bias"] = Tensor(f"{name}.bias", (out,))
        return _Flow(shape=shape, layer=layer)

    def _follow_lstm(self, node: fx.Node, before: _Flow) -> _Flow:
        """The four gates of each hidden unit lie n apart, so that index i of their axis belongs to unit i mod n."""
        self.passed += 1
        name = str(node.target)
        layer = name if self.passed < len(self.layer_nodes) else None
        module = self.fetch_attr(name)
        steps, hidden = before.shape[0], module.hidden_size
        if layer is not None:
            self.layers.append(Layer(name=layer, neurons=hidden))
        gates, unit = Axis(size=4 * hidden, layer=layer), Axis(size=hidden, layer=layer)
        feeds = before.axis if before.sequence else Axis(size=before.shape[1])
        self.tensors[f"{name}.weight_ih_l0"] = Tensor(f"{name}.weight_ih_l0", (gates, feeds), uses=steps)
        self.tensors[f"{name}.weight_hh_l0"] = Tensor(f"{name}.weight_hh_l0", (gates, unit), uses=steps)
        for bias in ("bias_ih_l0", "bias_hh_l0") if module.bias else ():
            self.tensors[f"{name}.{bias}"] = Tensor(f"{name}.{bias}", (gates,))
        return _Flow(shape=(steps, hidden), layer=layer, pair=True)

    def _follow_size(self, node: fx.Node) -> None:
        of, *which = node.args
        if (node.target == "size" and not which and not node.kwargs) or which == ["shape"]:
            self.shapes.add(node)
        elif which == [0] and (node.target == "size" or of in self.shapes):
            self.batch_sizes.add(node)
        else:
            raise _refuse(
                f"{self._what(node)} of {', '.join(map(str, node.args))}: of the examples, only the batch size may be "
                "read, as x.size(0) or x.shape[0]"
            )


def _check_parameters(module: nn.Module) -> None:
    names: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if nn.parameter.is_lazy(parameter):
            raise _refuse(f"parameter {name} has no shape yet; run the module once before it is pruned")
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
            raise _refuse(f"parameter {name} is {parameter.dtype} on {parameter.device}; it must be float32 on the CPU")
        if id(parameter) in names:
            raise _refuse(
                f"parameters {names[id(parameter)]} and {name} are one tensor; shared weights cannot be pruned"
            )
        names[id(parameter)] = name


def _layout_in_mode(module: nn.Module, *, input_shape: tuple[int, ...], training: bool) -> Layout:
    probe = copy.deepcopy(module).train(training)
    try:
        traced = fx.GraphModule(probe, fx.Tracer().trace(probe))
    except Exception as error:
        raise _refuse(
            f"{type(module).__name__}.forward cannot be traced, as it does not run the same operations whatever its "
            f"inputs are: {_first_line(error)}"
        ) from error
    walk = _Walk(traced)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        walk.run(torch.zeros(2, *input_shape))
    for name, _ in module.named_buffers():
        raise _refuse(f"buffer {name} is state that no neuron owns; leave it out")
    missing = [name for name, _ in module.named_parameters() if name not in walk.tensors]
    if missing:
        raise _refuse(f"parameter {missing[0]} takes no part in forward; leave it out")
    if not walk.tensors:
        raise _refuse(f"{type(module).__name__} has no Linear, Conv2d or LSTM layer")
    return Layout(tensors=tuple(walk.tensors[name] for name, _ in module.named_parameters()), layers=tuple(walk.layers))


def layout_of(module: nn.Module, *, input_shape: tuple[int, ...]) -> Layout:
    """The layout of `module` for inputs float32[m, *input_shape]; the module is left as it is.

    Tensors come in the order of `named_parameters()`. Every Linear, Conv2d and LSTM but the last is a prunable layer, named
    like the submodule. The dense layer after a flattened C × H × W volume has inner = H·W on its input axis.

    Raises `PreconditionError` (SUB-6), which names the submodule, operation or parameter, for whatever is not a chain of
    Linear, Conv2d (groups=1), LSTM (one layer, one direction) and the last of its steps, pooling, flattening of whole
    examples, one-hot vectors of them, elementwise activations, dropout and, after the last layer, softmax: joins, branches,
    normalisation, grouped convolution, fixed sizes, shared or unused weights, buffers, parameters that are not float32 on the
    CPU, control flow that depends on the inputs, other behaviour when not training.
    """
    _check_parameters(module)
    layout = _layout_in_mode(module, input_shape=input_shape, training=True)
    if layout != _layout_in_mode(module, input_shape=input_shape, training=False):
        raise _refuse(f"{type(module).__name__}.forward uses other layers in training than in evaluation")
    return layout
