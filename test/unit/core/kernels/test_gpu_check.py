"""Kernels are compared with torch before they are used; where one fails torch computes, and that is said."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from triton_device import DEVICE, GPU, needs_triton

from dinoreg.space.kernels import choice
from dinoreg.space.kernels.gpu import check, language, launch
from dinoreg.space.kernels.gpu.driver_link import FOLDER_VARIABLE

pytestmark = [pytest.mark.gpu] if GPU else []
ROOT = Path(__file__).resolve().parents[4]
CUDA = torch.device("cuda:0")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What other tests found about a device, before and after."""
    monkeypatch.delenv(choice.SWITCH, raising=False)
    choice._on_device.cache_clear()
    yield
    choice._on_device.cache_clear()


@needs_triton
def test_sound_kernels_pass():
    check.check_kernels(DEVICE)


def wrong_by_a_thousandth(values):
    return tuple(map(wrong_by_a_thousandth, values)) if isinstance(values, tuple) else values * 1.001


def lost(values):
    return tuple(map(lost, values)) if isinstance(values, tuple) else values * float("nan")


@needs_triton
@pytest.mark.parametrize("spoil", [wrong_by_a_thousandth, lost])
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("sample", None),
        ("sample_position_gradient", None),
        ("squared_difference", 0),
        ("squared_difference", 1),
        ("diffusion", 0),
        ("diffusion", 1),
        ("determinant", None),
    ],
)
def test_every_kernel_that_is_wrong_is_found(name, part, spoil, monkeypatch):
    right = getattr(launch, name)

    def wrong(*args, **kwargs):
        found = right(*args, **kwargs)
        if part is None:
            return spoil(found)
        return tuple(spoil(value) if n == part else value for n, value in enumerate(found))

    monkeypatch.setattr(launch, name, wrong)
    with pytest.raises(check.Disagreement, match="wrong by"):
        check.check_kernels(DEVICE)


@needs_triton
@pytest.mark.parametrize("changed", ["step_size", "root_scale"])
def test_a_wrong_step_of_adam_is_found(changed, monkeypatch):
    right = launch.adam
    monkeypatch.setattr(
        launch, "adam", lambda *args, **kwargs: right(*args, **{**kwargs, changed: 1.01 * kwargs[changed]})
    )
    with pytest.raises(check.Disagreement, match="value of a step of Adam"):
        check.check_kernels(DEVICE)


@needs_triton
def test_a_read_outside_for_positions_that_are_no_numbers_is_found(monkeypatch):
    right = launch.sample
    monkeypatch.setattr(
        launch, "sample", lambda volume, at, **how: right(volume, at.nan_to_num(nan=3.0), **how)
    )
    with pytest.raises(check.Disagreement, match="no number"):
        check.check_kernels(DEVICE)


@needs_triton
@pytest.mark.skipif(GPU, reason="a GPU compiles them itself")
def test_all_kernels_compile_for_cards_and_have_no_atomics(tmp_path):
    environment = {
        "PYTHONPATH": ":".join(sys.path),
        "TRITON_CACHE_DIR": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "test/reference/compile_kernels.py"), "75", "90"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {(row["kernel"], row["capability"]) for row in rows} == {
        (name, capability)
        for name in (
            "sample",
            "sample_position_gradient",
            "squared_difference",
            "diffusion",
            "determinant",
            "adam",
        )
        for capability in (75, 90)
    }
    assert all(row["cubin_bytes"] > 0 for row in rows)
    assert [row for row in rows if row["atomics"]] == []


def pretend_triton(monkeypatch, outcome):
    """Have a Triton whose kernels check out, or not."""

    def check_kernels(device):
        assert device == CUDA
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(language, "triton", type("triton", (), {"__version__": "9.9.9"}))
    monkeypatch.setattr(check, "check_kernels", check_kernels)


def test_kernels_that_check_out_are_used(monkeypatch, caplog):
    pretend_triton(monkeypatch, None)
    with caplog.at_level(logging.INFO):
        assert choice.on_gpu(CUDA)
    assert choice.describe_kernels(CUDA) == "Triton 9.9.9"
    assert [r.getMessage() for r in caplog.records] == ["kernels on cuda:0: Triton 9.9.9"]


@pytest.mark.parametrize(
    "outcome",
    [check.Disagreement("sampling: wrong by 1"), RuntimeError("Failed to find\nC compiler"), KeyError(3)],
)
def test_where_the_check_fails_torch_computes_and_it_is_said_once(outcome, monkeypatch, caplog):
    pretend_triton(monkeypatch, outcome)
    assert not choice.on_gpu(CUDA)
    assert not choice.on_gpu(CUDA)
    words = choice.describe_kernels(CUDA)
    assert words.startswith(f"torch (Triton 9.9.9 is not used: {type(outcome).__name__}: ")
    assert "\n" not in words
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", f"kernels on cuda:0: {words}")
    ]


def test_without_triton_and_by_the_switch_torch_computes(monkeypatch, caplog):
    monkeypatch.setattr(language, "triton", None)
    assert not choice.on_gpu(CUDA)
    assert choice.describe_kernels(CUDA) == "torch (Triton is not installed)"
    choice._on_device.cache_clear()
    pretend_triton(monkeypatch, None)
    monkeypatch.setenv(choice.SWITCH, "0")
    assert not choice.on_gpu(CUDA)
    assert choice.describe_kernels(CUDA) == f"torch ({choice.SWITCH} is 0)"
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_the_link_of_the_image_is_put_in_place_before(monkeypatch, tmp_path):
    (tmp_path / "ready").mkdir()
    (tmp_path / "ready" / "cuda_utils.so").touch()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "ready"))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    pretend_triton(monkeypatch, None)
    monkeypatch.setattr(check, "check_kernels", lambda device: (tmp_path / "cache" / "cuda_utils.so").lstat())
    assert choice.on_gpu(CUDA)


def test_a_cpu_never_asks_for_triton(monkeypatch):
    pretend_triton(monkeypatch, None)
    monkeypatch.setattr(check, "check_kernels", lambda device: None)
    assert not choice.on_gpu(torch.device("cpu"))
    assert choice.describe_kernels(torch.device("cpu")) == "numba"
