import pytest

from dinoreg.settings.load import load_preset
from dinoreg.task.advice import intensities_across_modalities
from regtask.dataset import Dataset

MODALITIES = {"0": "CT", "1": "MR T2"}


def task(folder, moving, modalities=MODALITIES):
    """Two pairs; the second one's moving image is of modality `moving`."""
    pairs = [
        {"fixed": "./imagesTr/T_0001_0000.nii.gz", "moving": "./imagesTr/T_0002_0000.nii.gz"},
        {"fixed": "./imagesTr/T_0002_0000.nii.gz", "moving": f"./imagesTr/T_0003_{moving}.nii.gz"},
    ]
    return Dataset("T", folder, {}, {int(k): v for k, v in modalities.items()}, {"registration_val": pairs})


@pytest.mark.parametrize("preset", ["ssd", "mind+intensity"])
def test_intensities_of_two_modalities(tmp_path, preset):
    found = task(tmp_path, "0001")
    warning = intensities_across_modalities(found, found.pairs(), load_preset(preset))
    assert warning.startswith("1 of 2 pairs are of two modalities, such as CT and MR T2")
    assert "--preset mind" in warning


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("fixed-ct", "moving-mr", "of two modalities, such as fixed-ct and moving-mr"),
        ("CBCT", "MR", "of two modalities"),
        ("PET", "CT", "of two modalities"),
        ("MR", "US", "of two modalities"),
        ("MR T1", "MR T2", "of two contrasts, such as MR T1 and MR T2"),
        ("T2", "T2-FLAIR", "of two contrasts"),
        ("FBCT", "CBCT", "CT against cone-beam CT, such as FBCT and CBCT: the grey values"),
        ("fixed-cbct", "moving-ct", "CT against cone-beam CT"),
    ],
)
def test_kinds_are_compared_not_words(tmp_path, first, second, words):
    found = task(tmp_path, "0001", {"0": first, "1": second})
    warning = intensities_across_modalities(found, found.pairs(), load_preset("ssd"))
    assert warning.startswith(f"1 of 2 pairs are {words}")
    assert "--preset mind" in warning


@pytest.mark.parametrize(
    ("preset", "moving", "modalities"),
    [
        ("auto", "0001", MODALITIES),
        ("mind", "0001", MODALITIES),
        ("dino3d+mind", "0001", MODALITIES),
        ("mind+intensity", "0000", MODALITIES),
        ("mind+intensity", "0001", {"0": "CT", "1": "CT"}),
        ("mind+intensity", "0001", {}),
        ("ssd", "0001", {"0": "fixed-ct", "1": "moving-ct"}),
        ("ssd", "0001", {"0": "FBCT", "1": "low-dose CT scan, LDCT"}),
        ("ssd", "0001", {"0": "CBCT", "1": "cone beam CT, follow-up"}),
        ("ssd", "0001", {"0": "MR", "1": "MRI T2w"}),
        ("ssd", "0001", {"0": "T1w Brain MRI", "1": "MR T1"}),
        ("ssd", "0001", {"0": "fixed", "1": "moving"}),
        ("ssd", "0001", {"0": "CT", "1": "moving"}),
    ],
)
def test_nothing_to_warn_of(tmp_path, preset, moving, modalities):
    found = task(tmp_path, moving, modalities)
    assert not intensities_across_modalities(found, found.pairs(), load_preset(preset))
