import numpy as np
import pytest
from pretrain_samples import tiny_config

from dinoreg.errors import ConfigError
from dinoreg.pretrain.anatomy import bank
from dinoreg.pretrain.anatomy.bank import anatomy_bank, draw_anatomy, read_anatomy

SETTINGS = tiny_config("anatomy.torsos=1", "anatomy.torso_spacing_mm=10.0", "anatomy.random_bodies=2").anatomy
NAMES = ["random-0000.npz", "random-0001.npz", "torso-0000.npz"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank") / "anatomies"
    anatomy_bank(folder, SETTINGS, 4)
    return folder


@pytest.fixture
def no_drawing(monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("drawn although it is kept")

    monkeypatch.setattr(bank, "ProcessPoolExecutor", refuse)


@pytest.mark.usefixtures("no_drawing")
def test_anatomies_are_kept_and_read_again(folder):
    assert sorted(p.name for p in folder.iterdir()) == NAMES
    kept = anatomy_bank(folder, SETTINGS, 4)
    assert [volume.oriented for volume in kept] == [True, False, False]
    expected = [draw_anatomy(*which, 4, SETTINGS) for which in (("torso", 0), ("random", 0), ("random", 1))]
    for found, drawn in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(found.ids, drawn.ids)
        np.testing.assert_array_equal(found.kinds, drawn.kinds)
        assert (found.spacing_mm, found.oriented) == (drawn.spacing_mm, drawn.oriented)


def test_an_anatomy_depends_on_seed_family_and_number_alone():
    first = draw_anatomy("random", 0, 4, SETTINGS)
    for number, seed in ((1, 4), (0, 5)):
        assert (draw_anatomy("random", number, seed, SETTINGS).ids != first.ids).any()
    many = SETTINGS.model_copy(update={"random_bodies": 100, "torsos": 9})
    np.testing.assert_array_equal(draw_anatomy("random", 0, 4, many).ids, first.ids)


def test_one_that_is_lost_is_drawn_the_same(folder, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in NAMES[1:]:
        (copy / name).write_bytes((folder / name).read_bytes())
    anatomy_bank(copy, SETTINGS, 4)
    for name in NAMES:
        found, expected = read_anatomy(copy / name), read_anatomy(folder / name)
        np.testing.assert_array_equal(found.ids, expected.ids)
        assert found.spacing_mm == expected.spacing_mm


@pytest.mark.parametrize("platform_tells", [True, False])
def test_no_more_processes_than_usable_cores(tmp_path, monkeypatch, platform_tells):
    class Refused(Exception):
        pass

    def refuse(workers, **keywords):
        raise Refused(workers)

    monkeypatch.setattr(bank, "ProcessPoolExecutor", refuse)
    monkeypatch.setattr(bank.os, "cpu_count", lambda: 64 if platform_tells else 2)
    if platform_tells:
        monkeypatch.setattr(bank.os, "sched_getaffinity", lambda process: {5, 7}, raising=False)
    else:
        monkeypatch.delattr(bank.os, "sched_getaffinity", raising=False)
    with pytest.raises(Refused, match=r"^2$"):
        anatomy_bank(tmp_path, SETTINGS, 4)


@pytest.mark.parametrize("damage", [b"", b"not an archive", b"PK\x03\x04 and no more", None])
def test_a_damaged_one_is_refused(folder, tmp_path, damage):
    whole = (folder / NAMES[0]).read_bytes()
    path = tmp_path / NAMES[0]
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(ConfigError, match=r"anatomy not readable.*delete it"):
        read_anatomy(path)


def test_one_without_its_kinds_is_refused(tmp_path):
    path = tmp_path / "part.npz"
    np.savez(path, ids=np.zeros((2, 2, 2), np.uint8), spacing_mm=2.0)
    with pytest.raises(ConfigError, match="anatomy not readable"):
        read_anatomy(path)


@pytest.mark.usefixtures("no_drawing")
def test_a_flipped_byte_is_noticed(folder, tmp_path):
    for name in NAMES:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    content = bytearray((folder / NAMES[0]).read_bytes())
    content[len(content) // 3] ^= 0xFF
    (tmp_path / NAMES[0]).write_bytes(content)
    with pytest.raises(ConfigError, match="anatomy not readable"):
        anatomy_bank(tmp_path, SETTINGS, 4)
