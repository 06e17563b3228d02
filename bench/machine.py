"""What the numbers were measured on.

described(load())        # 'AMD EPYC, 2 cores, ... load 0.3 before and 1.9 after'
"""

from __future__ import annotations

import os
import platform
from pathlib import Path


def load() -> float:
    """Processes that wanted to run, mean of the last minute."""
    return os.getloadavg()[0]


def described(before: float) -> str:
    """Processor, cores, versions and how busy the machine was, in two lines."""
    import torch

    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} "
        f"threads, {torch.backends.cpu.get_cpu_capability()}\n"
        f"load of the machine: {before:.1f} before, {load():.1f} after (its own share included)"
    )


def processor() -> str:
    """The processor's name as the kernel gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
