"""The notebook of the documentation runs, from its first cell to its last."""

import ast
import os
from pathlib import Path

import pytest

import dinoreg
import regtask

nbclient = pytest.importorskip("nbclient", reason="no nbclient: pip install nbclient ipykernel")
pytest.importorskip("ipykernel", reason="no ipykernel: pip install ipykernel")

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "two_scans.ipynb"


def test_it_is_kept_without_outputs():
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_it_runs_and_shows_the_report(tmp_path, monkeypatch):
    import nbformat

    # The kernel starts elsewhere, and is to run what is tested here.
    sources = [str(Path(package.__file__).parents[1]) for package in (dinoreg, regtask)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sources))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert ast.literal_eval(outputs[0][-1]["data"]["text/plain"]) == ("good", ())
    (frame,) = [output["data"]["text/html"] for output in outputs[1] if "text/html" in output.get("data", {})]
    assert frame.startswith("<iframe")
    assert "kidney right" in frame
    overlap = ast.literal_eval(outputs[2][-1]["data"]["text/plain"])
    before, after = (sum(scores) / len(scores) for scores in zip(*overlap.values(), strict=True))
    assert after > before
    assert overlap["liver"][1] > overlap["liver"][0] + 0.05
