import pytest

from dinoreg.errors import ConfigError
from dinoreg.settings.inherit import inherit
from dinoreg.settings.load import load_config, load_preset

PRESETS = {
    "base": {
        "description": "b",
        "features": {"cell_mm": 4.0, "max_cells": 9},
        "adam": [{"iterations": 3}, {}],
    },
    "middle": {"extends": "base", "features": {"cell_mm": 2.0}, "change": {"adam.1.iterations": 7}},
    "self": {"extends": "again"},
    "again": {"extends": "self"},
}


def found(values):
    return inherit(values, PRESETS.__getitem__, "here")


def test_tables_are_merged_lists_stand_alone_and_changes_come_last():
    merged = {"features": {"cell_mm": 2.0, "max_cells": 9}, "adam": [{"iterations": 3}, {"iterations": 7}]}
    assert found({"extends": "middle"}) == merged
    assert found({"extends": "middle", "adam": []})["adam"] == []
    assert found({"extends": "base", "description": "own"})["description"] == "own"
    assert "description" not in found({"extends": "base"})
    assert PRESETS["base"]["adam"] == [{"iterations": 3}, {}]  # nothing is changed in place


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"extends": "self"}, "self -> again -> self"),
        ({"extends": 3}, "name of another preset"),
        ({"change": 3}, "a table"),
        ({"extends": "base", "change": {"adam.2.iterations": 1}}, "a number below 2 instead of 2"),
        ({"extends": "base", "change": {"features.cell_mm.x": 1}}, "a key in a table instead of x"),
    ],
)
def test_what_cannot_be_inherited(values, message):
    with pytest.raises(ConfigError, match=message):
        found(values)


def test_a_file_extends_a_preset(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "mind"\n[change]\n"adam.0.iterations" = 5\n')
    config = load_config(path, ["adam.0.learning_rate=0.5"])
    expected = load_preset("mind", ["adam.0.iterations=5", "adam.0.learning_rate=0.5"])
    assert config.name == "mine"
    assert config.model_copy(update={"name": "", "description": ""}) == expected.model_copy(
        update={"name": "", "description": ""}
    )


def test_a_file_that_extends_nothing_that_is_there(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "mnd"\n')
    with pytest.raises(ConfigError, match="did you mean mind"):
        load_config(path)
