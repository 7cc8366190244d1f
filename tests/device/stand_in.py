"""A CUDA device for tests without a GPU: tensors say cuda:0 and hold CPU memory, so real values flow.

A CPU tensor that meets one of them raises, as on a GPU. `counting` counts what a GPU is slow at, by function: waits of
the program for the device, copies between both, and kernels. Import this before torch, after `build`: torch looks its
devices up once. Streams do nothing, so a missing wait between streams is not found. Needs a CPU build of torch.

    python stand_in.py LIBRARY      compiles the device; GENPAS_STAND_IN_DEVICE=LIBRARY then loads it
"""

# ruff: noqa: E402 – torch is imported after the device

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

HERE = Path(__file__).parent
LIBRARY = "GENPAS_STAND_IN_DEVICE"
"""Environment variable with the path of the compiled `guard.cpp`."""


def build(library: Path) -> None:
    """Compile the device's guard with g++ against torch's headers."""
    spec = find_spec("torch")
    assert spec is not None and spec.origin is not None
    torch_root = Path(spec.origin).parent
    subprocess.run(
        [
            *("g++", "-std=c++20", "-shared", "-fPIC", str(HERE / "guard.cpp"), "-o", str(library)),
            *(f"-I{torch_root}/include", f"-L{torch_root}/lib", f"-Wl,-rpath,{torch_root}/lib"),
            *("-Wl,--no-as-needed", "-lc10", "-ltorch_cpu"),
        ],
        check=True,
        capture_output=True,
        text=True,
    )


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    sys.exit()
if LIBRARY in os.environ:
    assert "torch" not in sys.modules, "import stand_in before torch"
    ctypes.CDLL(os.environ[LIBRARY], ctypes.RTLD_GLOBAL)

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)
_OURS = ("genpas_plugins", "recbole_ext", "torchrec_ext", "recbole", "torchrec", "fbgemm_gpu")
_VIEWS = set(
    "view,_unsafe_view,slice,select,t,transpose,expand,unsqueeze,squeeze,alias,detach,detach_,as_strided,permute,split,"  # noqa: SIM905
    "split_with_sizes,unbind,_reshape_alias,lift_fresh,empty,empty_like,new_empty,empty_strided,new_empty_strided,"
    "diagonal,unflatten,is_same_size,expand_as,_local_scalar_dense".split(",")
)
"""Operations without a kernel."""
_WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Counts:
    """What a program does on the device: waits and copies by function, and the number of kernels."""

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self.kernels = 0


_counts: list[Counts] = []


@contextmanager
def counting(counts: Counts | None = None) -> Iterator[Counts]:
    """Count inside the block, from zero or on in `counts`."""
    _counts.append(Counts() if counts is None else counts)
    try:
        yield _counts[-1]
    finally:
        _counts.pop()


def _site() -> str:
    """Return the innermost function of the project or its libraries, with the line, as "file.py:function:12"."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        parts = Path(frame.f_code.co_filename).parts
        if ours := [place for place, part in enumerate(parts[:-1]) if part in _OURS]:
            return f"{'/'.join(parts[ours[-1] :])}:{frame.f_code.co_name}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


def _count(kind: str) -> None:
    for counts in _counts:
        getattr(counts, kind)[_site()] += 1


def count_kernel() -> None:
    """Count one kernel more."""
    for counts in _counts:
        counts.kernels += 1


class OnDevice(torch.Tensor):
    """A tensor on the device; `held` is its memory on the CPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnDevice:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, held.size(), device=CUDA, **layout)
        made.held = held
        return made

    def tolist(self) -> Any:
        _count("waits")
        return self.held.tolist()

    def __repr__(self) -> str:
        _count("waits")
        return f"OnDevice({self.held!r})"

    def record_stream(self, stream: Any) -> None:
        pass

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.held.__reduce_ex__(protocol)  # saved as a tensor of the CPU

    def as_subclass(self, cls: Any) -> Any:
        return OnDevice.__new__(type(cls.__name__, (cls, OnDevice), {}), self.held)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Device(TorchDispatchMode):
    """Inside the block, tensors can be made on the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def held(value: Any) -> Any:
    """Return the CPU memory of a tensor; other values as they are."""
    return value.held if isinstance(value, OnDevice) else value


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    name, tensors = (
        func.overloadpacket.__name__,
        [leaf for leaf in tree_leaves((args, kwargs)) if torch.is_tensor(leaf)],
    )
    device = kwargs.get("device")
    target = None if device is None else torch.device(device).type
    if name == "_to_copy":
        return _copied(func, args, kwargs, target)
    if name == "copy_" and isinstance(args[0], OnDevice) != isinstance(args[1], OnDevice) and args[1].dim():
        _count("waits" if isinstance(args[1], OnDevice) else "copies")
        held(args[0]).copy_(held(args[1]))
        return args[0]
    ours = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
    on_device = target == "cuda" or (target is None and bool(ours))
    if ours:
        _check(func, name, args, [tensor for tensor in tensors if not isinstance(tensor, OnDevice)])
        if _waits(func, name, args, kwargs):
            _count("waits")
    if on_device and name not in _VIEWS:
        count_kernel()
    on_cpu = {"device": torch.device("cpu"), "pin_memory": False}
    kwargs = {key: on_cpu.get(key, held(value)) if value is not None else None for key, value in kwargs.items()}
    result = func(*tree_map(held, args), **kwargs)
    if not on_device:
        return result
    known = {id(tensor.held): tensor for tensor in ours}
    return tree_map(lambda leaf: _placed(leaf, known) if torch.is_tensor(leaf) else leaf, result)


def _placed(result: torch.Tensor, known: dict[int, OnDevice]) -> torch.Tensor:
    """Return a result on the device: an argument itself after an operation in place."""
    if isinstance(result, OnDevice):
        return result
    return known[id(result)] if id(result) in known else OnDevice(result.resolve_conj())  # a wrapper has no conj bit


def _copied(func: Any, args: Any, kwargs: Any, target: str | None) -> Any:
    (source, *rest), here = args, isinstance(args[0], OnDevice)
    there = here if target is None else target == "cuda"
    if here != there:
        _count("waits" if here else "copies")
    elif there:
        count_kernel()
    options = {key: value for key, value in kwargs.items() if key not in ("device", "pin_memory")}
    result = func(held(source), *rest, **options)
    if result is held(source):
        result = result.clone()
    return OnDevice(result) if there else result


def _check(func: Any, name: str, args: Any, on_cpu: list[torch.Tensor]) -> None:
    for tensor in on_cpu:
        if tensor.dim() == 0:
            continue
        if name in _INDEXING and any(tensor is index for index in args[1]):
            _count("copies")  # torch copies an index that is on the CPU
            continue
        raise RuntimeError(f"{func}: a tensor {tuple(tensor.shape)} on the CPU meets one on cuda:0")


def _waits(func: Any, name: str, args: Any, kwargs: Any) -> bool:
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    if name in _INDEXING:
        mask = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        # A single number is written by masked_fill, which does not wait.
        return mask and not (name != "index" and args[2].numel() == 1)
    return name in _WAITS


def to_device(module: torch.nn.Module) -> torch.nn.Module:
    """Move a module's parameters and buffers to the device, in place."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(
                    OnDevice(parameter.detach().clone()), parameter.requires_grad
                )
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = OnDevice(buffer.clone())
    return module


def _module_to(module: Any, *args: Any, **kwargs: Any) -> Any:
    """Swap parameters for OnDevice ones, where torch would change their memory alone."""
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return _to(module, *args, **kwargs)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


class _OnHeld(torch.autograd.Function):
    """A function of tensors that counts as one kernel forward and one backward, as cuDNN's recurrent layers do."""

    @staticmethod
    def forward(ctx: Any, function: Any, *tensors: Any) -> Any:
        ctx.inputs = [held(tensor).detach().requires_grad_(tensor.requires_grad) for tensor in tensors]
        with torch.enable_grad():
            ctx.outputs = function(*ctx.inputs)
        count_kernel()
        return tuple(OnDevice(output.detach()) for output in ctx.outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        wanted = [tensor for tensor in ctx.inputs if tensor.requires_grad]
        found = iter(torch.autograd.grad(ctx.outputs, wanted, [held(gradient) for gradient in gradients]))
        count_kernel()
        return None, *(OnDevice(next(found)) if tensor.requires_grad else None for tensor in ctx.inputs)


def _gru(inputs: Any, state: Any, weights: Any, *rest: Any) -> Any:
    if not isinstance(inputs, OnDevice):
        return _cpu_gru(inputs, state, weights, *rest)
    return _OnHeld.apply(lambda x, h, *flat: _cpu_gru(x, h, list(flat), *rest), inputs, state, *weights)


class _Stream:
    """A stream or an event that does nothing."""

    device, stream_id, device_index, device_type = CUDA, 0, 0, 1

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: True

    def __enter__(self) -> None: ...

    def __exit__(self, *_: Any) -> None: ...


if LIBRARY in os.environ:
    torch._C._set_only_lift_cpu_tensors(True)
    _to = torch.nn.Module.to
    torch.nn.Module.to = _module_to  # type: ignore[method-assign]
    torch.cuda.Stream = torch.cuda.Event = _Stream  # type: ignore[misc]
    torch.Tensor.pin_memory = lambda tensor, *_: tensor  # type: ignore[method-assign]
    torch.cuda.get_rng_state = lambda *_: torch.get_rng_state()
    torch.cuda.set_rng_state = lambda state, *_: torch.set_rng_state(state)
    _load = torch.load
    torch.load = lambda file, map_location=None, **more: _load(file, map_location="cpu", **more)
    _cpu_gru = torch._VF.gru
    torch._VF.gru = _gru
    _stream = _Stream()
    for _name, _value in {
        **dict.fromkeys(("is_available", "is_initialized", "is_bf16_supported"), True),
        **dict.fromkeys(("current_stream", "default_stream", "stream"), _stream),
        **{"current_device": 0, "device_count": 1, "get_device_name": "stand-in", "get_device_capability": (9, 0)},
        "mem_get_info": (1 << 34, 1 << 34),
        **dict.fromkeys(("set_device", "synchronize", "manual_seed", "manual_seed_all", "_lazy_init"), None),
        **{"is_current_stream_capturing": False, "get_device_properties": SimpleNamespace(total_memory=2**36)},
    }.items():
        setattr(torch.cuda, _name, lambda *_, _value=_value, **__: _value)
