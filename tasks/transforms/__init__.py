"""What becomes of records on their way through the layers. Pure: no database, no clock."""

import hashlib
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def code_version(*modules: ModuleType) -> str:
    """A hash of the modules' source: what was made by other code is made again."""
    return hashlib.sha256(b"\0".join(Path(str(module.__file__)).read_bytes() for module in modules)).hexdigest()[:16]
