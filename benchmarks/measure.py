"""Seconds and memory, of functions and of whole commands."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

_LAUNCH = """
import resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True)
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, flush=True)
sys.stdout.buffer.write(done.stdout)
sys.stderr.buffer.write(done.stderr)
sys.exit(done.returncode)
"""
"""A small process in between: Linux counts the memory of who starts a process as that process's own."""


def best(work: Callable[[], T], times: int = 3) -> tuple[float, float, T]:
    """The least seconds of several runs, by the wall clock and of all cores together, and the result."""
    walls, cores = [], []
    for _ in range(times):
        busy = time.process_time()
        wall, result = timed(work)
        walls.append(wall)
        cores.append(time.process_time() - busy)
    return min(walls), min(cores), result


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of wall clock, and the result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def command(*arguments: str, statuses: Sequence[int] = (0,)) -> tuple[float, float]:
    """Seconds and peak memory (GB) of `tulu-data ARGUMENTS`; ends where it fails."""
    seconds, memory, _ = process("-m", "tulu_data", *arguments, statuses=statuses)
    return seconds, memory


def process(*arguments: str, statuses: Sequence[int] = (0,)) -> tuple[float, float, str]:
    """Seconds, peak memory (GB) and output of `python ARGUMENTS`; ends where it fails."""
    line = [sys.executable, "-c", _LAUNCH, sys.executable, *arguments]
    done = subprocess.run(line, capture_output=True, check=False, text=True)
    if done.returncode not in statuses:
        sys.exit(done.stderr)
    first, _, output = done.stdout.partition("\n")
    seconds, memory = first.split()
    return float(seconds), float(memory), output
