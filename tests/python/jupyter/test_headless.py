"""A notebook that is executed without anybody there, as by papermill and `nbconvert --execute`."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("ipykernel")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

CELLS = [
    "import time",
    "def slow():\n    end = time.thread_time() + 0.3\n    while time.thread_time() < end: pass",
    "slow()",
]
CONFIG = """
c.InteractiveShellApp.extensions = ["spprof"]
c.SpprofMagics.always = True
c.SpprofMagics.report = "costs.html"
c.SpprofMagics.threshold = 60
"""


@pytest.mark.parametrize("how", ["first cell", "configuration"])
@pytest.mark.slow_unless(how="configuration")
def test_the_report_is_there_when_the_notebook_was_executed(tmp_path, monkeypatch, how):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = list(CELLS)
    if how == "first cell":
        cells.insert(0, "%load_ext spprof\n%spprof on --threshold 60 --report costs.html")
    else:
        (tmp_path / "ipython" / "profile_default").mkdir(parents=True)
        (tmp_path / "ipython" / "profile_default" / "ipython_config.py").write_text(CONFIG)
    # What the notebook does with its directory does not move the report.
    cells.append("import os, tempfile; os.chdir(tempfile.gettempdir())")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=60, resources=resources).execute()
    html = (tmp_path / "costs.html").read_text("utf-8")
    assert re.search(
        r"Most of all In \[\d\]: \d+% of the time; of its CPU time \d+% in slow\.", html
    )
    assert len(re.findall("<img ", html)) >= 1
    assert not [output for cell in notebook.cells for output in cell.outputs]
