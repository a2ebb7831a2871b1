"""Where Triton's kernels are tested: on a GPU if there is one, or else interpreted on the CPU.

To be imported before `dinoreg.space.kernels.gpu`. Interpreted, a kernel is Python: its values, reads and
writes are checked, neither its speed nor whether it compiles. Without Triton the tests are skipped; CPU
builds of torch do not bring it, and it takes 700 MB:

    pip install "triton>=3.4"
"""

import importlib.util
import os
import sys

import pytest
import torch

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda:0" if GPU else "cpu")
HAS_TRITON = importlib.util.find_spec("triton") is not None

needs_triton = pytest.mark.skipif(
    not HAS_TRITON, reason="Triton is not installed; to run these: pip install 'triton>=3.4'"
)

if HAS_TRITON and not GPU and os.environ.get("TRITON_INTERPRET") != "1":
    if "dinoreg.space.kernels.gpu.language" in sys.modules:
        raise RuntimeError("dinoreg.space.kernels.gpu was imported before triton_device: import that first")
    os.environ["TRITON_INTERPRET"] = "1"
