"""Compile all of Triton's kernels for NVIDIA cards, which takes no card, and print what came out as JSON.

    python test/reference/compile_kernels.py [CAPABILITY ...]       75 is a T4, 80 an A100, 90 an H100 or H200

Signatures are those that the launches have, so that what is compiled here is what a card would get.
"""

import json
import re
import sys
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from dinoreg.space.kernels.gpu import launch

_TYPES = {torch.float32: "*fp32", torch.float16: "*fp16", int: "i32", float: "fp32"}


def launches():
    """Yield kernel and arguments of every launch, with float32 and float16, without running one."""
    noted = []

    def note(kernel, count, block, *arguments, **constants):
        noted.append((kernel, arguments, {**constants, "BLOCK": block}))

    shape = (6, 5, 4)
    vectors = torch.zeros(3, *shape)
    with mock.patch.object(launch, "_run", note):
        for dtype in launch.VALUES:
            for relative in (True, False):
                volume = torch.zeros(2, *shape, dtype=dtype)
                launch.sample(volume, vectors.flatten(1), relative=relative)
                launch.sample_position_gradient(volume, vectors.flatten(1), vectors, relative=relative)
                launch.squared_difference(volume, volume, vectors, vectors[:1] if relative else None)
        launch.diffusion(vectors, (1.0, 1.0, 1.0))
        launch.determinant(vectors)
        launch.adam(
            vectors, vectors, vectors, vectors, step_size=1.0, root_scale=1.0, betas=(0.9, 0.99), epsilon=0.1
        )
    return noted


def source(kernel, arguments, constants):
    """What Triton compiles for a call, whose numbers it may not specialise for."""
    signature = {}
    for parameter, value in zip(kernel.params, arguments, strict=False):
        signature[parameter.name] = _TYPES[value.dtype if isinstance(value, torch.Tensor) else type(value)]
    signature |= dict.fromkeys(constants, "constexpr")
    return ASTSource(kernel, signature=signature, constexprs=constants)


def main():
    """Compile."""
    rows = []
    for kernel, arguments, constants in launches():
        made = source(kernel, arguments, constants)
        for capability in map(int, sys.argv[1:] or ("75", "80", "90")):
            ptx = triton.compile(made, target=GPUTarget("cuda", capability, 32)).asm
            rows.append(
                {
                    "kernel": kernel.fn.__name__,
                    "capability": capability,
                    "cubin_bytes": len(ptx["cubin"]),
                    "atomics": len(re.findall(r"^\s*(?:@\S+\s+)?(?:atom|red)\.", ptx["ptx"], re.M)),
                }
            )
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main()
