"""``python -m spprof``: the command line. Knows nothing else."""

from __future__ import annotations

import sys

from ._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
