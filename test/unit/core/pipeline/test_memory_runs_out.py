"""Where memory does not suffice a registration goes on, coarser, and says so."""

import numpy as np
import pytest
import torch
from core_checks import central_median, light_config, run_registration
from core_reference import SHIFT, SPACING, shifted_pair
from pretend_cuda import CUDA, pretended_cuda

from dinoreg import runtime
from dinoreg.errors import OutOfRoomError
from dinoreg.optimise import discrete, free_form
from dinoreg.optimise.instance import renewed
from dinoreg.optimise.instance import stage as instance
from dinoreg.pipeline import register
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import Adam, Ffd
from dinoreg.settings.load import load_preset

MIB = 1 << 20
SHAPE = (36, 40, 44)
SIGMA = 4.0  # voxels: seen on cells of 8 voxels as well


def _register(images, config, device=None):
    pair = [prepare_image(i, config.preprocess, modality="MR", mask=None) for i in images]
    return register.register_prepared(*pair, SPACING, config, device=device or torch.device("cpu"))


def _stages(result):
    return {stage.name: stage.as_dict() for stage in result.stages}


def _fail_once(monkeypatch, module, name, error):
    real, failed = getattr(module, name), []

    def failing(*arguments, **settings):
        if not failed:
            failed.append(True)
            raise error
        return real(*arguments, **settings)

    monkeypatch.setattr(module, name, failing)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", ERRORS, ids=["device", "numpy", "host"])
@pytest.mark.parametrize(
    ("module", "function", "stage"),
    [
        (register, "encode_pair", "features"),
        (discrete, "make_cost_volume", "discrete"),
        (instance, "refine_adam", "adam"),
    ],
)
def test_any_stage_goes_on_with_wider_cells(module, function, stage, error, monkeypatch, rng):
    _fail_once(monkeypatch, module, function, error)
    images = shifted_pair(SHAPE, SHIFT, rng, sigma=SIGMA)
    result = _register(images, light_config())
    reports = _stages(result)
    assert {name: r.get("cells_widened", 1) for name, r in reports.items() if name == stage} == {stage: 2}
    assert reports["guard"].get("cells_widened") is None
    np.testing.assert_allclose(central_median(result.displacement), SHIFT, atol=0.7)


def test_other_errors_pass(monkeypatch, rng):
    _fail_once(monkeypatch, instance, "refine_adam", RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        run_registration(*shifted_pair((12, 14, 16), (1, -1, 1), rng), light_config(discrete=()))


def test_a_free_form_stage_goes_on_too(monkeypatch, rng):
    _fail_once(monkeypatch, free_form, "refine_adam", ERRORS[0])
    images = shifted_pair(SHAPE, (1, -2, 1), rng)
    config = light_config(discrete=(), adam=(), ffd=(Ffd(cell_mm=2.0, control_mm=8.0, iterations=5),))
    assert _stages(_register(images, config))["ffd"]["cells_widened"] == 2


def test_a_small_budget_is_kept_to_by_the_estimates(monkeypatch, rng):
    """What is free is looked at before a stage, so that a container's limit is never met."""
    images = shifted_pair(SHAPE, SHIFT, rng, sigma=SIGMA)
    config = light_config(adam=(Adam(cell_mm=2.0, iterations=20, similarity="lcc", regularity_weight=0.1),))
    whole = _register(images, config)
    asked = whole.stages[-2].facts.memory
    monkeypatch.setenv("REGTASK_MEMORY", f"{int(1.25 * asked.estimated_mib)}M")
    found = _stages(_register(images, config))["adam"]["details"]["memory"]
    assert found["estimated_mib"] <= asked.estimated_mib
    assert (found["channels_at_a_time"], found["keeps_statistics"]) != (
        asked.channels_at_a_time,
        asked.keeps_statistics,
    )


def test_where_nothing_helps_one_error_says_what_to_do(monkeypatch, rng):
    monkeypatch.setenv("REGTASK_MEMORY", "100")
    images = shifted_pair((12, 14, 16), (1, -1, 1), rng)
    with pytest.raises(OutOfRoomError, match="not enough memory: features") as caught:
        run_registration(*images, light_config())
    assert "more memory" in str(caught.value)
    assert caught.value.exit_code == 3


def test_published_numerics_are_never_computed_on_other_cells(monkeypatch, rng):
    from dinoreg.optimise import published

    _fail_once(monkeypatch, published, "refine_adam", ERRORS[0])
    with pytest.raises(OutOfRoomError, match="not enough memory: adam"):
        run_registration(*shifted_pair((20, 22, 24), (1, -1, 1), rng), load_preset("convexadam-published"))


def test_the_guard_goes_on_in_the_memory_of_the_host(monkeypatch, rng):
    _fail_once(monkeypatch, register, "guard_deformation", ERRORS[0])
    images = shifted_pair((12, 14, 16), (1, -1, 1), rng)
    with pretended_cuda():
        result = _register(images, light_config(discrete=(), adam=(Adam(cell_mm=2.0, iterations=2),)), CUDA)
    assert np.isfinite(result.displacement).all()
    assert result.displacement.any()


def test_a_card_with_little_memory_gets_smaller_blocks(monkeypatch, rng):
    images = shifted_pair((12, 14, 16), (1, -1, 1), rng)
    config = light_config(discrete=(), adam=(Adam(cell_mm=2.0, iterations=2, similarity="lcc"),))
    with pretended_cuda():
        monkeypatch.setattr(instance, "free_memory", lambda device: MIB // 4)
        found = _stages(_register(images, config, CUDA))["adam"]["details"]["memory"]
    assert 1 <= found["channels_at_a_time"] < 12
    assert found["free_mib"] == 0


def test_an_estimate_is_compared_with_what_is_free(monkeypatch):
    monkeypatch.setenv("REGTASK_MEMORY", "100M")
    runtime.check_memory("fields", 79 * MIB, torch.device("cpu"))
    with pytest.raises(torch.OutOfMemoryError, match="fields take 81 MiB, 100 MiB are free"):
        runtime.check_memory("fields", 81 * MIB, torch.device("cpu"))


@pytest.mark.parametrize("error", ERRORS, ids=["device", "numpy", "host"])
def test_rounds_with_renewed_features_go_on_with_wider_cells(error, monkeypatch, rng):
    config = load_preset("mind", ["renewed.rounds=1"])
    monkeypatch.setattr(renewed, "worth_of_freedom", lambda gain: 1.0)
    _fail_once(monkeypatch, register, "moved_along", error)
    result = _register(shifted_pair(SHAPE, SHIFT, rng, sigma=SIGMA), config)
    assert _stages(result)["renewed"]["cells_widened"] == 2
    np.testing.assert_allclose(central_median(result.displacement), SHIFT, atol=0.7)
