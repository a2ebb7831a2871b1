"""Registration on a pretended GPU: no devices are mixed, and nothing new makes host and device wait."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from core_reference import SPACING, shifted_pair, smooth_noise
from pretend_cuda import CUDA, MixedDevices, pretended_cuda
from random_weights import random_vit_small

from dinoreg.optimise.instance import renewed, stage
from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.settings.load import load_preset
from dinoreg.space.compose import inverse_displacement
from regtask import Grid

SHAPE, SHIFT = (24, 20, 26), (1, -2, 1)
ADAM = "optimise/adam.py refine_adam"
SHORT = ("adam.0.iterations=11",)  # one look at the loss
PRESETS = {
    "auto": ("renewed.iterations=11", "start.0.range_mm=[9,9,9]", "start.0.keep=1"),
    "mind": SHORT,
    "convexadam": SHORT,
    "ffd-ncc": ("ffd.0.iterations=11", "ffd.0.levels=1"),
    "dino3d": SHORT,
    "dinoreg-cpu": SHORT,
}
# Looks at the loss: one per optimisation of 11 iterations, four in each of the two of 40 that ask how smooth
# it is to be, on a lattice of their own. A field of `ffd-ncc` is judged by one of 80, and asked the same.
LOOKS = {"auto": 2 + 8, "ffd-ncc": 1 + 8 + 8}
LATTICES = {"auto": 2, "ffd-ncc": 3}
# Where the host and the device may wait for each other: in the optimiser, for a look at the loss every
# tenth iteration; elsewhere a few times per stage.
IN_ADAM = {
    ("to the device", "space/coords.py _on_device"): 2,  # what is the same in all iterations
}
ELSEWHERE = {
    ("to the host", "course.py _fallback"),
    ("to the device", "encoders/dino3d/encoder.py _to_working"),
    ("to the device", "encoders/dino3d/encoder.py encode_dino3d"),
    ("answer", "encoders/dino3d/source.py _cells"),
    ("to the device", "encoders/dino3d/source.py _values"),
    ("answer", "encoders/dino3d/source.py _values"),
    ("to the device", "encoders/dino3d/source.py make"),
    ("answer", "encoders/ensemble.py measured_energy"),
    ("answer", "encoders/ensemble.py scale_pair"),
    ("to the host", "encoders/evidence.py colours"),
    ("to the host", "encoders/evidence.py weight"),
    ("answer", "encoders/joint_basis.py share_needed"),
    ("to the device", "encoders/pair.py averaged"),
    ("to the device", "encoders/pair.py cut"),
    ("to the host", "encoders/pca.py fit_basis"),
    ("to the device", "encoders/pca.py project"),
    ("to the device", "encoders/pooled.py make"),
    ("to the device", "encoders/registry.py _load_dino3d"),
    ("to the device", "encoders/slices/joint.py _features"),
    ("answer", "encoders/slices/joint.py _features"),
    ("to the device", "encoders/slices/slicewise.py _planes"),
    ("to the device", "encoders/slices/joint.py _codes"),
    ("to the device", "encoders/slices/slicewise.py encode_slices"),
    ("answer", "encoders/slices/slicewise.py finite"),
    ("answer", "encoders/slices/slicewise.py foreground_tokens"),
    ("to the device", "encoders/slices/slicewise.py place_tokens"),
    ("to the device", "encoders/slices/source.py make"),
    ("to the device", "encoders/vit/dinov2.py load_dinov2"),
    ("to the device", "field_verdict.py judge_field"),
    ("answer", "guard/folds.py repair_folds"),
    ("answer", "guard/guard.py guard_deformation"),
    ("to the device", "guard/second_look.py look_again"),
    ("answer", "guard/second_look.py look_again"),
    ("to the host", "guard/second_look.py look_again"),
    ("to the host", "guard/size.py body_mm"),
    ("to the device", "guard/verdict.py gather_evidence"),
    ("answer", "guard/verdict.py gather_evidence"),
    ("to the host", "linear/move.py linear_part"),
    ("to the host", "linear/way_back.py _components_last"),
    ("answer", "optimise/instance/held_out.py held_out_gain"),
    ("answer", "optimise/intensities/agreement.py measure_agreement"),
    ("to the device", "preprocess/moved.py moved_along"),
    ("to the host", "preprocess/moved.py moved_along"),
    ("to the device", "optimise/bspline.py __init__"),
    ("answer", "optimise/discrete.py search_convex"),
    ("to the device", "optimise/free_form.py run_ffd"),
    ("to the device", "space/coords.py _on_device"),
    ("to the device", "space/lattice.py resize_displacement"),
    ("to the device", "space/orientation.py turn_vectors_from_ras"),
    ("to the device", "space/orientation.py turn_vectors_to_ras"),
    ("to the device", "space/separable.py box_matrix"),
    ("to the device", "space/separable.py interpolation_matrix"),
    ("to the device", "space/working.py displacement_from_image"),
    ("to the device", "space/working.py displacement_to_image"),
    ("to the device", "start/hypotheses.py judge_translations"),
    ("answer", "start/hypotheses.py judge_translations"),
    ("to the device", "start/search.py _pooled"),
    ("answer", "start/slice_matching.py _shift_of_least_distance"),
    ("answer", "start/slice_matching.py match_slices"),
    ("answer", "start/slice_matching.py mean_distance"),
    ("answer", "start/slices.py run"),
    ("to the device", "start/translate.py translated"),
}


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """Settings of a random ViT-S under an official name."""
    path = tmp_path_factory.mktemp("weights") / "dinov2_vits14_reg4_pretrain.pth"
    torch.save(random_vit_small(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"features.encoders.0.weights={path}", f"features.encoders.0.sha256={digest}"


@pytest.fixture(scope="module")
def pair():
    grid = Grid(SHAPE, np.diag([*SPACING, 1.0]))
    images = shifted_pair(SHAPE, SHIFT, np.random.default_rng(5))
    return ImagePair(*(Scan(500 * (image - image.min()), grid, modality="MR") for image in images))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_registration_mixes_no_devices_and_waits_only_where_it_may(preset, pair, vit, monkeypatch):
    for module in (stage, renewed):  # what these images are too small to ask for
        monkeypatch.setattr(module, "worth_of_freedom", lambda gain: 1.0)
    overrides = (*PRESETS[preset], *(vit if preset == "dinoreg-cpu" else ()))
    with pretended_cuda() as waits:
        found = register(pair, load_preset(preset, overrides), device=CUDA).displacement
    assert found.shape == (*SHAPE, 3)
    assert np.isfinite(found).all()
    inside, outside, places = Counter(), [], {}
    for wait, times in waits.items():
        key = wait.kind, wait.place
        if ADAM in wait.within:
            inside[key] += times
            places[key] = str(wait)
        elif key not in ELSEWHERE:
            outside.append(str(wait))
    assert outside == []
    assert inside.pop(("answer", ADAM)) == LOOKS.get(preset, 1)
    lattices = LATTICES.get(preset, 1)
    assert [places[key] for key, times in inside.items() if times > lattices * IN_ADAM.get(key, 0)] == []


def test_a_displacement_is_inverted_where_it_is():
    rng = np.random.default_rng(6)
    bumps = np.stack([smooth_noise(SHAPE, rng, sigma=3.0) for _ in range(3)]).astype(np.float32)
    displacement = torch.from_numpy(0.4 * bumps + np.float32(2.5))
    with pretended_cuda():
        found = inverse_displacement(displacement.to(CUDA))
        assert found.device == CUDA
        found = found.cpu()
    torch.testing.assert_close(found, inverse_displacement(displacement), atol=0.2, rtol=0)


def test_mixing_devices_is_refused():
    with pretended_cuda():
        here, there = torch.ones(3), torch.ones(3, device=CUDA)
        assert (there.device, (2 * there).device, there.cpu().device.type) == (CUDA, CUDA, "cpu")
        with pytest.raises(MixedDevices, match=r"\(3,\)\] on cpu"):
            here + there
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        torch.testing.assert_close((there * torch.tensor(2.0)).cpu(), torch.full((3,), 2.0))


def test_every_wait_is_noted():
    values = torch.arange(3.0)
    with pretended_cuda() as waits:
        there = values.to(CUDA)
        torch.tensor([1.0], device=CUDA)
        there[torch.tensor([0, 1])]
        assert [wait.kind for wait in waits.elements()] == ["to the device"] * 3
        waits.clear()
        assert float(there.sum()) == 3
        there[there > 1]
        assert [wait.kind for wait in waits.elements()] == ["answer"] * 2
        waits.clear()
        assert there.tolist() == there.cpu().tolist() == [0, 1, 2]
        assert [wait.kind for wait in waits.elements()] == ["to the host"] * 2


def test_gradients_pass():
    with pretended_cuda():
        there = torch.tensor([1.0, 2.0], device=CUDA).requires_grad_()
        (gradient,) = torch.autograd.grad((there**2).cpu().sum(), there)
        assert gradient.device == CUDA
        torch.testing.assert_close(gradient.cpu(), torch.tensor([2.0, 4.0]))


def test_a_copy_in_every_iteration_is_noticed(monkeypatch, pair):
    from dinoreg.optimise import regularise

    fresh = lambda numbers, like: torch.tensor(numbers, device=like.device).view(-1, 1, 1, 1)  # noqa: E731
    monkeypatch.setattr(regularise, "per_axis", fresh)
    with pretended_cuda() as waits:
        register(pair, load_preset("convexadam", SHORT), device=CUDA)
    (found,) = (times for wait, times in waits.items() if wait.place == "optimise/regularise.py forward")
    assert found == 11
