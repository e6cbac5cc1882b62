"""What this machine trains on, and how much memory that has.

Rule of this file: looking must not initialise CUDA, because jobs are forked from the process that looks.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch


def describe_device() -> dict[str, Any]:
    """`device`, `device_name` and `memory_bytes` of a WorkerInfo."""
    gpu = _nvidia() if torch.cuda.device_count() > 0 else None  # counted through NVML: no CUDA context
    if gpu is not None:
        name, memory = gpu
        return {"device": "cuda", "device_name": name, "memory_bytes": memory}
    return {"device": "cpu", "device_name": _processor(), "memory_bytes": _memory()}


def _nvidia() -> tuple[str, int] | None:
    """Name and bytes of the first GPU that this process may use, as nvidia-smi tells."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    try:
        out = subprocess.run(
            [*command, *(["-i", visible] if visible else [])], capture_output=True, text=True, timeout=20, check=True
        ).stdout
        name, mebibytes = out.splitlines()[0].rsplit(",", 1)
        return name.strip(), int(mebibytes) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int:
    """Bytes of memory that this process may use: the machine's, or the container's limit where that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return total
