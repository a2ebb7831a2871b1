import pytest

from regtask import DataError
from regtask.sockets import find_slot, image_slots


def entry(slug, path=None, *, name=None, key="socket"):
    value = {key: {"slug": slug, "relative_path": path or f"images/{slug}"}}
    return value | {"image": {"name": name}} if name else value


@pytest.mark.parametrize("key", ["socket", "interface"])
def test_both_generations(key):
    entries = [
        entry("fixed-ct", name="a.mha", key=key),
        entry("age", "age.json", key=key),
        entry("moving_mr", key=key),
    ]
    slots = image_slots(entries, "inputs.json")
    assert [(slot.slug, slot.image_name) for slot in slots] == [("fixed-ct", "a.mha"), ("moving_mr", None)]
    assert find_slot(slots, "fixed", {}, "here") is slots[0]
    assert find_slot(slots, "moving", {}, "here") is slots[1]


def test_masks_are_not_taken_for_images():
    slots = image_slots(
        [entry(slug) for slug in ("fixed-body-mask", "fixed-image", "moving-image", "moving-mask")], "x"
    )
    roles = ("fixed", "moving", "fixed-mask", "moving-mask")
    found = {role: find_slot(slots, role, {}, "x").slug for role in roles}
    assert found == {
        "fixed": "fixed-image",
        "moving": "moving-image",
        "fixed-mask": "fixed-body-mask",
        "moving-mask": "moving-mask",
    }


def test_given_slug_wins():
    slots = image_slots([entry("follow-up"), entry("fixed-image")], "x")
    assert find_slot(slots, "fixed", {"fixed": "follow-up"}, "x") is slots[0]
    assert find_slot(slots, "moving", {}, "x") is None
    with pytest.raises(DataError, match=r"no such socket.*baseline.*follow-up"):
        find_slot(slots, "moving", {"moving": "baseline"}, "x")


def test_two_that_fit_are_refused():
    slots = image_slots([entry("fixed-ct"), entry("fixed-mr")], "x")
    with pytest.raises(DataError, match=r"fixed-ct, fixed-mr.*fixed=SLUG"):
        find_slot(slots, "fixed", {}, "x")


def test_field_of_an_only_output_whatever_its_name():
    one = image_slots([entry("result"), entry("report", "report.json")], "x")
    assert find_slot(one, "field", {}, "x") is one[0]
    two = image_slots([entry("warped-image"), entry("displacement-field")], "x")
    assert find_slot(two, "field", {}, "x") is two[1]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "not a list"),
        (["a"], "not a socket"),
        ([{"socket": {"slug": "a"}}], "not a socket"),
        ([entry("a/../b")], "not a socket"),
        ([entry("a", "images/../../etc")], "leaves the folder"),
        ([entry("a", "/etc")], "leaves the folder"),
    ],
)
def test_faulty_lists(entries, message):
    with pytest.raises(DataError, match=message):
        image_slots(entries, "inputs.json")
