"""Starts the program's own processes: workers and loops."""

from __future__ import annotations

import os
import subprocess
import sys

import anyio
from anyio.abc import Process

# numpy would start a thread for each core, in every process, for linear algebra that nobody does.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


async def start_loop() -> Process:
    """Start a loop process, which waits for a job."""
    # A session of its own: Ctrl-C in the terminal reaches the launcher alone, which decides.
    return await start_python("asyncv2d.launch.loop", stderr=None, own_session=True)


async def start_python(module: str, *, stderr: int | None, own_session: bool = False) -> Process:
    """Run ``module`` in a Python process that is talked to over its stdin and stdout.

    ``stderr`` is as for subprocess.Popen. ``own_session`` keeps Ctrl-C in the terminal from it.
    """
    # -u: what it prints before it dies arrives. -P: files in the user's folder are not imported.
    command = [sys.executable, "-u", "-P", "-m", module]
    process: Process
    with anyio.CancelScope(shield=True):  # half a start could not be undone
        process = await anyio.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**_ENVIRONMENT, **os.environ},
            start_new_session=own_session,
        )
    return process


async def kill(process: Process) -> None:
    """End a process now, and wait until it is gone."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.kill()
        await process.aclose()
