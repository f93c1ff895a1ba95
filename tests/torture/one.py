"""One torment in this process: NAME SECONDS PATIENCE_S MODE INTERVAL_MS native|python RESULT_FILE.

MODE "off" is the undisturbed program. What became of it is in the result file, as JSON.
"""

from __future__ import annotations

import sys

import torment
import torments_inside  # noqa: F401 - they register themselves
import torments_outside  # noqa: F401

if __name__ == "__main__":
    sys.exit(torment.main(sys.argv[1:]))
