"""Where weights are looked for, and what their digest decides."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dinoreg.encoders.vit.dinov2_keys import VARIANTS
from dinoreg.errors import WeightsError
from dinoreg.weights.model_folder import model_folder_in
from dinoreg.weights.official import OFFICIAL, official_file
from dinoreg.weights.search import find_weights, in_search_folders, own_weights

REFERENCE = Path(__file__).parents[5] / "shared" / "data" / "dinov2_reference" / "reference_outputs.json"
CONTENT = b"weights"  # those of the fixture `pinned`
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "dinov2_vits14_pretrain.pth"


def put(folder, name, content=CONTENT):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_every_variant_has_its_file():
    assert list(OFFICIAL) == list(VARIANTS)
    for file in OFFICIAL.values():
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert official_file(file.name) is file
    assert len({file.sha256 for file in OFFICIAL.values()}) == 8
    pinned = [digest for file in OFFICIAL.values() for digest in file.digests[1:]]
    assert len(set(pinned)) == len(pinned) == 6
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in pinned)
    assert official_file("vitl14-reg").folder.name == "facebook/dinov2-with-registers-large"
    assert official_file("vitl14-reg").url == (
        "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_reg4_pretrain.pth"
    )


@pytest.mark.real_data
@pytest.mark.skipif(not REFERENCE.is_file(), reason="no ../shared/data/dinov2_reference")
def test_digests_are_those_of_the_reference():
    stated = json.loads(REFERENCE.read_text())["official_pth_sha256"]
    for file in OFFICIAL.values():
        assert stated[file.name]["sha256"] == file.sha256
    assert stated[NAME]["bytes"] == OFFICIAL["vits14"].size
    assert stated[NAME]["url"] == OFFICIAL["vits14"].url


def test_order_of_the_folders(tmp_path, monkeypatch, pinned):
    from dinoreg.weights import search as weights

    named, mount, image = (tmp_path / name for name in ("named", "mount", "image"))
    monkeypatch.setattr(weights, "_MOUNT", mount)
    monkeypatch.setattr(weights, "_IN_IMAGE", image)
    monkeypatch.setenv("DINOREG_WEIGHTS", str(named))
    for folder in (image, mount, named):  # the later outranks the earlier
        path = put(folder, NAME)
        found = find_weights("vits14")
        assert (found.path, found.sha256, found.provenance) == (path, DIGEST, "official")
    monkeypatch.delenv("DINOREG_WEIGHTS")
    assert find_weights("vits14").path == mount / NAME
    elsewhere = put(tmp_path / "elsewhere", NAME)
    assert find_weights("vits14", elsewhere).path == elsewhere
    assert find_weights("vits14", elsewhere.parent).path == elsewhere


def test_absent_weights_name_the_three_ways(tmp_path):
    with pytest.raises(WeightsError) as caught:
        find_weights("vitb14-reg", folders=(tmp_path / "a", tmp_path / "b"))
    message = str(caught.value)
    for part in (
        "dinoreg weights fetch vitb14-reg",
        "./build.sh --weights DIR",
        "/opt/ml/model",
        "dinov2_vitb14_reg4_pretrain.pth",
        str(tmp_path / "a"),
        str(tmp_path / "b"),
    ):
        assert part in message
    assert caught.value.exit_code == 2


def test_an_explicit_path_that_is_not_there_is_not_replaced(tmp_path, monkeypatch, pinned):
    put(tmp_path / "named", NAME)
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path / "named"))
    for absent in (tmp_path / "nowhere", tmp_path / "nowhere" / "mine.pth"):
        with pytest.raises(WeightsError) as caught:
            find_weights("vits14", absent)
        assert str(caught.value) == f"no weights for vits14: {absent}; got no such file or folder"


def test_a_misspelt_path_names_the_nearest(tmp_path):
    put(tmp_path, "encoder.safetensors")
    put(tmp_path, "log.csv")
    absent = tmp_path / "encodr.safetensors"
    with pytest.raises(WeightsError, match=r"no such file or folder -> did you mean encoder.safetensors\?$"):
        find_weights("dino3d", absent)


def test_a_folder_without_the_file_names_the_file(tmp_path):
    put(tmp_path, "other.pth")
    with pytest.raises(WeightsError, match=f"no weights for vits14: {tmp_path}; expected {NAME} -> one of"):
        find_weights("vits14", tmp_path)


@pytest.mark.parametrize("explicit", [False, True])
def test_official_name_with_another_digest(tmp_path, pinned, explicit):
    path = put(tmp_path, NAME, b"damaged")
    other = hashlib.sha256(b"damaged").hexdigest()
    with pytest.raises(WeightsError, match=f"expected sha256 {DIGEST}; got sha256 {other}"):
        find_weights("vits14", path if explicit else None, folders=[tmp_path])


def test_a_wrong_find_is_not_passed_over(tmp_path, pinned):
    put(tmp_path / "first", NAME, b"damaged")
    put(tmp_path / "second", NAME)
    with pytest.raises(WeightsError, match="wrong digest"):
        find_weights("vits14", folders=[tmp_path / "first", tmp_path / "second"])


@pytest.mark.parametrize("name", ["vits14.pth", "vits14.safetensors"])
def test_custom_weights_need_a_path_or_a_digest(tmp_path, pinned, name):
    path = put(tmp_path, name, b"mine")
    mine = hashlib.sha256(b"mine").hexdigest()
    with pytest.raises(WeightsError, match=f"not the official ones.*got sha256 {mine}"):
        find_weights("vits14", folders=[tmp_path])
    assert find_weights("vits14", path).provenance == "custom"
    found = find_weights("vits14", folders=[tmp_path], sha256=mine.upper())
    assert (found.path, found.sha256, found.provenance) == (path, mine, "custom")
    with pytest.raises(WeightsError, match=f"expected sha256 {'0' * 64}; got sha256 {mine}"):
        find_weights("vits14", path, sha256="0" * 64)


def test_official_content_under_another_name_is_official(tmp_path, pinned):
    assert find_weights("vits14", put(tmp_path, "renamed.pth")).provenance == "official"


def put_folder(folder, content=b"mine"):
    put(folder, "config.json", b"{}")
    put(folder, "model.safetensors", content)
    return folder


def test_hugging_face_folder(tmp_path, pinned):
    folder = put_folder(tmp_path / "vits14")
    mine = hashlib.sha256(b"mine").hexdigest()
    assert find_weights("vits14", folder).sha256 == mine
    assert find_weights("vits14", folder / "model.safetensors").path == folder
    assert find_weights("vits14", folders=[tmp_path], sha256=mine).path == folder
    with pytest.raises(
        WeightsError, match=f"not the official ones.*expected sha256 {DIGEST} or .*sha256 {mine}"
    ):
        find_weights("vits14", folders=[tmp_path])
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        WeightsError, match=r"folder without tensors: .*vits14; expected model.safetensors or"
    ):
        find_weights("vits14", folder)


@pytest.mark.parametrize(
    "name",
    [
        "dinov2-small",
        "facebook/dinov2-small",
        "models--facebook--dinov2-small/snapshots/ed25f3a31f01632728ca",
    ],
)
def test_a_published_folder_is_found_by_its_name(tmp_path, monkeypatch, pinned, name):
    """As copied, as cloned with its owner, and as the hub's cache has it."""
    folder = put_folder(tmp_path / name, b"folder")
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path))
    found = find_weights("vits14")
    assert (found.path, found.provenance) == (folder, "official")
    assert in_search_folders(Path("facebook/dinov2-small")) == folder
    with pytest.raises(WeightsError, match=f"expected sha256 {DIGEST}"):
        find_weights("vits14", sha256=DIGEST)


def test_the_snapshot_that_the_cache_points_to(tmp_path):
    cache = tmp_path / "models--facebook--sam-vit-base"
    old, new = (put_folder(cache / "snapshots" / revision) for revision in ("aa", "bb"))
    assert model_folder_in(tmp_path, "facebook/sam-vit-base") is None  # which of the two is meant?
    put(cache / "refs", "main", b"aa\n")
    assert model_folder_in(tmp_path, "facebook/sam-vit-base") == old
    put(cache / "refs", "main", b"bb")
    assert model_folder_in(tmp_path, "facebook/sam-vit-base") == new


def test_unknown_variant():
    with pytest.raises(WeightsError, match="did you mean vitl14-reg"):
        find_weights("vitl14-regs")


def test_own_weights(tmp_path):
    path = put(tmp_path, f"dinov3_vits16_pretrain_lvd1689m-{DIGEST[:8]}.pth")
    assert own_weights(path).provenance == "custom"
    assert own_weights(path, sha256=DIGEST).sha256 == DIGEST
    with pytest.raises(WeightsError, match=f"expected sha256 08c60483; got sha256 {DIGEST}"):
        own_weights(put(tmp_path, "dinov3_vits16_pretrain_lvd1689m-08c60483.pth"))
    with pytest.raises(WeightsError, match="wrong digest"):
        own_weights(path, sha256="1" * 64)
    with pytest.raises(WeightsError, match=r"no weights: .*nowhere"):
        own_weights(tmp_path / "nowhere")


def test_own_weights_in_the_search_folders(tmp_path, monkeypatch):
    """The path itself comes first; one that is nowhere stays what it is, for the message."""
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    assert in_search_folders(Path("sam.pth")) == Path("sam.pth")
    stored = put(tmp_path / "store", "sam.pth")
    assert in_search_folders(Path("sam.pth")) == stored
    here = put(tmp_path, "sam.pth")
    assert in_search_folders(Path("sam.pth")).resolve() == here
    assert in_search_folders(tmp_path / "nowhere.pth") == tmp_path / "nowhere.pth"


def test_looking_for_weights_loads_no_torch():
    code = "import sys, dinoreg.weights.search; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
