"""What the template of workers loads before any worker is forked from it: libraries that every case needs, and no state.

One thread a worker: the libraries read these variables when they are loaded. Nothing here may start a thread, open a
file or a connection, or touch an accelerator: all of that would be shared by every worker.
"""

from __future__ import annotations

import os
import signal

# Ctrl-C is the supervisor's to hear; it was held back until now
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# who only asks whether there is a GPU while libraries are loaded must not begin with CUDA, which no fork survives
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

import sqlalchemy  # noqa: F401

import tracescribe.runs.executors.worker
import tracescribe.runs.store.opening  # noqa: F401
