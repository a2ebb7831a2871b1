"""What the benchmarks of left-out tasks and of swapped roles count."""

import numpy as np
import pytest

from bench_left_out import choose, means
from bench_swapped import distances_mm

SPACING_MM = (2.0, 1.0, 3.0)


def test_a_field_and_its_inverse_bring_a_voxel_back_and_a_wrong_one_does_not():
    shape, shift = (20, 24, 28), np.array((3, -5, 7), np.float32)
    there = np.broadcast_to(shift, (*shape, 3))
    where = np.ones(shape, bool)
    assert distances_mm(there, -there, where, SPACING_MM).max() == 0
    wrong = -there + np.array((0.5, 0, -1), np.float32)
    # Voxels that leave the image are not followed, and all others end half a voxel and one voxel off.
    followed = np.argwhere(where)[::7] + shift
    inside = ((followed >= 0) & (followed <= np.array(shape) - 1)).all(axis=1).sum()
    found = distances_mm(there, wrong, where, SPACING_MM)
    assert len(found) == inside
    assert found == pytest.approx(np.hypot(0.5 * 2, 1 * 3))


def test_the_choice_is_made_by_the_other_tasks_alone():
    scores = {
        "base": {"A": 0.70, "B": 0.80, "C": 2.0},
        "first": {"A": 0.71, "B": 0.82, "C": 9.0},  # worse where fewer mm count
        "second": {"A": 0.10, "B": 0.81, "C": 1.5},
    }
    assert choose(scores, ["B", "C"], {"C"}) == "second"
    assert choose(scores, ["A", "B"], {"C"}) == "first"
    assert choose(scores, ["C"], {"C"}) == "second"


def test_candidates_that_were_not_measured_on_every_pair_do_not_count():
    def row(candidate, case, score):
        return {"candidate": candidate, "task": "A", "case": case, "score": score}

    rows = [row("base", "1", 0.5), row("base", "2", 0.7), row("other", "1", 0.9)]
    assert means(rows) == {"base": {"A": pytest.approx(0.6)}}
