"""What the bits of a run can depend on besides its spec and its seed."""

import os
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from worker.training.threads import flushing_subnormals, subnormals_are_zeros


def provenance(device: str, cohort_size: int) -> dict[str, Any]:
    """What this process trains a cohort with, as plain JSON values."""
    with flushing_subnormals():
        flushes = subnormals_are_zeros()
    return {
        "device": device,
        "hardware": torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cohort_size": cohort_size,
        "mode": "eager",
        "subnormals": "zero" if flushes else "kept",
        "mkl_cbwr": os.environ.get("MKL_CBWR"),
        "descent": version("descent"),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
