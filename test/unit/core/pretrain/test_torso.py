import numpy as np
import pytest

from dinoreg.phantom.body.tissues import Tissue
from dinoreg.pretrain.anatomy.labels import Kind
from dinoreg.pretrain.anatomy.torso import ras_lattice, tissue_kinds, torso

SPACING = 7.0


@pytest.fixture(scope="module", params=[0, 1, 2])
def patient(request):
    return torso(SPACING, np.random.default_rng(request.param))


def centroid(volume, *tissues):
    """Mean index along right, front and top."""
    found = np.argwhere(np.isin(volume.ids, tissues))
    assert len(found), tissues
    return found.mean(axis=0)


def test_every_tissue_has_a_kind():
    kinds = tissue_kinds()
    assert len(kinds) == len(Tissue)
    assert set(kinds.tolist()) == {int(kind) for kind in Kind}
    expected = {
        Tissue.AIR: Kind.AIR,
        Tissue.LUNG_LEFT: Kind.LUNG,
        Tissue.STOMACH_GAS: Kind.GAS,
        Tissue.VISCERAL_FAT: Kind.FAT,
        Tissue.LIVER: Kind.ORGAN,
        Tissue.AORTA: Kind.BLOOD,
        Tissue.RIB: Kind.BONE,
        Tissue.SPONGIOSA: Kind.MARROW,
        Tissue.GALL_BLADDER: Kind.FLUID,
        Tissue.SKIN: Kind.MUSCLE,
    }
    assert {tissue: Kind(kinds[tissue]) for tissue in expected} == expected
    assert np.flatnonzero(kinds == Kind.AIR).tolist() == [Tissue.AIR]


def test_a_torso_is_a_label_volume_of_a_person(patient):
    assert patient.ids.shape == (57, 43, 80)
    assert patient.ids.max() < len(patient.kinds)
    assert patient.spacing_mm == SPACING
    assert patient.oriented
    inside = patient.ids > 0
    assert 0.2 < inside.mean() < 0.8
    assert not inside[[0, -1]].any()
    assert not inside[:, [0, -1]].any()
    liver_ml = np.isin(patient.ids, (Tissue.LIVER, Tissue.LIVER_VESSEL)).sum() * SPACING**3 / 1000
    assert 600 < liver_ml < 2500


def test_axes_run_to_the_right_front_and_top(patient):
    liver, spleen = centroid(patient, Tissue.LIVER), centroid(patient, Tissue.SPLEEN)
    assert liver[0] > spleen[0] + 8  # the liver is on the patient's right
    kidneys = centroid(patient, Tissue.CORTEX_RIGHT, Tissue.CORTEX_LEFT)
    lungs = centroid(patient, Tissue.LUNG_RIGHT, Tissue.LUNG_LEFT)
    pelvis = centroid(patient, Tissue.PELVIC_BONE)
    assert pelvis[2] < kidneys[2] - 8 < lungs[2] - 20
    cord, stomach = centroid(patient, Tissue.SPINAL_CORD), centroid(patient, Tissue.STOMACH_FLUID)
    assert cord[1] < stomach[1] - 4
    middle = (np.array(patient.ids.shape) - 1) / 2
    assert abs(cord[0] - middle[0]) < 3


def test_patients_repeat_and_differ(patient):
    again = torso(SPACING, np.random.default_rng(1))
    other = torso(SPACING, np.random.default_rng(2))
    np.testing.assert_array_equal(again.ids, torso(SPACING, np.random.default_rng(1)).ids)
    assert 0.02 < (again.ids != other.ids).mean() < 0.5


def test_the_lattice_is_centred_and_ras():
    lattice = ras_lattice((21, 31, 41), 2.5, (0.0, -5.0, 25.0))
    np.testing.assert_allclose(lattice.to_mm(np.array([[10, 15, 20]])), [[0.0, -5.0, 25.0]])
    np.testing.assert_allclose(lattice.to_mm(np.array([[11, 17, 19]])), [[2.5, 0.0, 22.5]])


def test_the_frame_removes_the_size_of_the_body():
    """The spine of all patients is at the same place of the frame, wherever it is in the volume."""
    middles, voxels = [], []
    for seed in range(3):
        volume = torso(SPACING, np.random.default_rng(seed))
        middle = centroid(volume, Tissue.SPINAL_CORD)
        voxels.append(middle[0:2] * SPACING)
        middles.append((volume.frame[0] * middle + volume.frame[1])[:2])
    assert np.ptp(middles, axis=0).max() < 4
    assert np.ptp(voxels, axis=0).max() > np.ptp(middles, axis=0).max()
