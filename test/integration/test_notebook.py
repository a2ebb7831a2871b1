"""The notebook of the documentation runs, from its first cell to its last."""

import ast
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="no nbclient: pip install nbclient ipykernel")
pytest.importorskip("ipykernel", reason="no ipykernel: pip install ipykernel")

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "two_scans.ipynb"


def test_it_is_kept_without_outputs():
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_it_runs_and_shows_the_report(tmp_path):
    import nbformat

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
    assert all(after > before for before, after in overlap.values())
    assert overlap["liver"][1] > 0.8
