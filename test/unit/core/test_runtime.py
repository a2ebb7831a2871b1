"""What every run settles about the machine before it computes."""

import logging
from importlib import metadata

import pytest
import torch

from dinoreg import runtime


def test_a_device_is_chosen_after_the_vector_functions_were_settled(monkeypatch):
    order = []
    monkeypatch.setattr(runtime, "settle_vector_math", lambda: order.append("settled"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(order.append("looked")))
    runtime.choose_device("auto")
    assert order == ["settled", "looked"]


@pytest.mark.parametrize(
    ("seen", "built", "words"),
    [
        (True, True, "device cuda:0 (H200): the first GPU there is"),
        (False, True, "device cpu: torch sees no GPU"),
        (False, False, "is built without GPU support"),
    ],
)
def test_the_log_says_which_device_was_chosen_and_why(monkeypatch, caplog, seen, built, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H200")
    monkeypatch.setattr(torch.version, "cuda", "13.0" if built else None)
    with caplog.at_level(logging.INFO):
        assert runtime.choose_device("auto").type == ("cuda" if seen else "cpu")
    (line,) = caplog.messages
    assert words in line


def test_a_named_device_is_logged_too(caplog):
    with caplog.at_level(logging.INFO):
        runtime.choose_device("cpu")
    assert caplog.messages == ["device cpu: as asked for"]


@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos", "tanh", "erf", "sqrt"])
def test_vector_functions_are_first_called_with_too_few_values_for_two_threads(monkeypatch, name):
    called, function = [], getattr(torch, name)
    monkeypatch.setattr(torch, name, lambda values: called.append(values) or function(values))
    runtime.settle_vector_math()
    assert [values.dtype for values in called] == [torch.float32, torch.float64]
    assert max(values.numel() for values in called) < 2048  # torch shares out no fewer


@pytest.mark.parametrize("package", ["torch", "transformers", "safetensors"])
def test_the_manifest_states_the_versions_that_decide_what_an_encoder_gives(package):
    assert runtime.describe_machine(torch.device("cpu"))[package] == metadata.version(package)


@pytest.mark.parametrize(
    ("revision", "expected"),
    [("0123abc-dirty", "0123abc-dirty"), ("unknown", None), ("", None), (None, None)],
)
def test_the_manifest_states_the_commit_of_the_image_where_it_is_known(monkeypatch, revision, expected):
    monkeypatch.delenv("DINOREG_REVISION", raising=False)
    if revision is not None:
        monkeypatch.setenv("DINOREG_REVISION", revision)
    assert runtime.describe_machine(torch.device("cpu")).get("commit") == expected
