"""A shell for tests: IPython's own with the magics loaded, and what its cells print."""

from __future__ import annotations

import re
import textwrap

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


class Notebook:
    """A shell, and what its cells printed.

    Parameters
    ----------
    capsys
        pytest's.
    **traits
        Of the magics.
    """

    def __init__(self, capsys, **traits):
        config = Config({"SpprofMagics": traits})
        config.HistoryManager.hist_file = ":memory:"
        self.shell = InteractiveShell(config=config)
        self.shell.extension_manager.load_extension("spprof")
        self._capsys = capsys

    def run(self, cell):
        """Run a cell; return its result and what it printed."""
        result = self.shell.run_cell(textwrap.dedent(cell).strip("\n"), store_history=True)
        out, err = self._capsys.readouterr()
        return result, re.sub(r"\x1b\[[0-9;]*m", "", out + err)

    def end(self):
        """Give the shell up."""
        self.shell.extension_manager.unload_extension("spprof")
        self.shell.history_manager.end_session()
