"""Environments of the peers: each has its own pinned packages and sees this project's torch, numpy and pandas."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

PINS: dict[str, tuple[str, ...]] = {
    "rectools": (
        "rectools==0.19.0",
        "pm-implicit==0.7.3",
        "fastrlock==0.8.3",
        "typeguard==4.6.1",
        "pytorch-lightning==2.6.6",
    ),
    "replay": ("replay-rec==0.22.0", "lightning==2.6.6"),
    "cornac": ("cornac==3.0.1", "powerlaw==2.0.0"),
}
"""The packages of each environment, installed without their dependencies: a second torch is gigabytes."""


def make_environment(name: str, folder: Path) -> Path:
    """Return the Python of a peer's environment in a folder, which is made once for its pins.

    Raises RuntimeError with pip's last line if a package cannot be installed.
    """
    place, pins = folder / name, "\n".join(PINS[name])
    python, made = place / "bin" / "python", place / "made"
    if made.is_file() and made.read_text("utf-8") == pins:
        return python
    venv.create(place, clear=True, symlinks=True)
    inside = sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)})
    Path(inside, "shared.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--no-deps", *PINS[name]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pip could not install {name}: {done.stderr.strip().rpartition(chr(10))[2]}")
    made.write_text(pins, encoding="utf-8")
    return python
