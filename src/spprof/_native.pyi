# The native module for the type checker; docs/ARCHITECTURE.md says what its functions mean.
from typing import Any

def __getattr__(name: str) -> Any: ...
