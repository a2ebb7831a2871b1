import numpy as np
import pytest

from dinoreg.phantom import ORGAN_NAMES, Anatomy, PatientVariation, Tissue, task_lattice
from dinoreg.phantom.body.skeleton import vertebra_height, vertebra_index
from dinoreg.phantom.points import PointSet

NUMBER = {name: number for number, name in ORGAN_NAMES.items()}

# Millilitres; a small adult inside the field of view.
VOLUMES_ML = {
    "liver": (700, 1900),
    "spleen": (60, 350),
    "kidney_right": (90, 230),
    "kidney_left": (90, 230),
    "stomach": (150, 550),
    "gall_bladder": (10, 60),
    "pancreas": (30, 110),
    "aorta": (60, 180),
    "vena_cava": (60, 160),
    "heart": (250, 800),
    "lung_right": (500, 1800),
    "lung_left": (450, 1700),
    "vertebrae": (200, 600),
}


@pytest.fixture(scope="module", params=[None, 1, 2])
def organs(request):
    patient = None if request.param is None else PatientVariation.sample(np.random.default_rng(request.param))
    lattice = task_lattice("small")
    positions = lattice.to_mm(lattice.voxel_grid())
    anatomy = Anatomy.of(patient)
    return positions, anatomy.organs_at(positions), abs(np.linalg.det(lattice.affine[:3, :3])) / 1000


@pytest.mark.parametrize("name", VOLUMES_ML)
def test_organ_volumes_are_those_of_a_person(organs, name):
    _, labels, voxel_ml = organs
    low, high = VOLUMES_ML[name]
    assert low < (labels == NUMBER[name]).sum() * voxel_ml < high


def test_organs_lie_where_they_belong(organs):
    positions, labels, _ = organs
    middle = {name: positions[labels == number].mean(axis=0) for name, number in NUMBER.items()}
    right, up = 0, 2
    for name in ("liver", "gall_bladder", "kidney_right", "lung_right", "vena_cava"):
        assert middle[name][right] > 10, name
    for name in ("spleen", "stomach", "kidney_left", "lung_left", "heart"):
        assert middle[name][right] < -10, name
    assert middle["lung_right"][up] > middle["liver"][up] + 50
    assert middle["vertebrae"][1] < middle["aorta"][1] < middle["stomach"][1]  # from back to front


def test_every_tissue_occurs():
    lattice = task_lattice("small")
    present = np.unique(Anatomy.of().labels_at(lattice.to_mm(lattice.voxel_grid())))
    assert [tissue.name for tissue in Tissue if tissue not in present] == []


def test_vertebrae_alternate_with_discs_along_z():
    index = np.arange(-3.0, 5.0)
    anatomy = Anatomy.of()

    def tissue(positions):
        z = vertebra_height(positions)
        return anatomy.labels_at(np.stack([0 * z, np.full_like(z, -48.0), z], axis=1))

    assert (tissue(index) == Tissue.MARROW).all()
    assert (tissue(index + 0.5) == Tissue.DISC).all()
    np.testing.assert_allclose(vertebra_index(vertebra_height(index)), index, atol=1e-12)


def test_the_answer_does_not_depend_on_which_points_are_asked_together():
    points = np.random.default_rng(3).uniform((-150, -110, -150), (150, 110, 170), (3000, 3))
    anatomy = Anatomy.of()
    together = anatomy.labels_at(points)
    order = np.argsort(points[:, 2])
    parts = np.concatenate([anatomy.labels_at(part) for part in np.array_split(points[order], 30)])
    np.testing.assert_array_equal(together[order], parts)


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_no_organ_leaves_its_box(seed):
    """Boxes decide which organs are computed; a solid beyond its box would depend on the question."""
    patient = None if seed is None else PatientVariation.sample(np.random.default_rng(seed))
    cloud = np.random.default_rng(9).uniform((-160, -120, -220), (160, 120, 260), (20000, 3))
    points = PointSet.from_array(cloud)
    leaks = {}
    for organ in Anatomy.of(patient).organs:
        outside = ((cloud < organ.shape.lower) | (cloud > organ.shape.upper)).any(axis=1)
        if outside.any():
            leaks[organ.name] = int((organ.shape.level(points)[outside] < 0).sum())
    assert {name: count for name, count in leaks.items() if count} == {}


def test_patients_differ_and_repeat():
    points = np.random.default_rng(4).uniform((-140, -100, -100), (140, 100, 150), (4000, 3))
    first, again, other = (
        Anatomy.of(PatientVariation.sample(np.random.default_rng(seed))).labels_at(points)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert 0.02 < (first != other).mean() < 0.6


def test_body_is_closed_and_anchors_lie_in_it():
    anatomy = Anatomy.of()
    anchors = anatomy.anchors_mm()
    assert len(anchors) > 150
    assert (anatomy.labels_at(anchors) != Tissue.AIR).all()
    far = np.array([[200.0, 0, 0], [0, 160.0, 0], [0, -160.0, 0], [-200.0, 0, 50]])
    assert (anatomy.labels_at(far) == Tissue.AIR).all()


def test_unreasonable_patients_are_refused():
    with pytest.raises(ValueError, match="fat_mm"):
        PatientVariation(fat_mm=60)
    with pytest.raises(ValueError, match="body_scale"):
        PatientVariation(body_scale=(1, 1, 2))
