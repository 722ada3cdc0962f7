"""What the bits of a run can depend on besides its spec and its seed."""

import os
from importlib.metadata import version
from typing import Any

import numpy as np
import torch


def provenance(device: str, cohort_size: int) -> dict[str, Any]:
    """What this process trains a cohort with, as plain JSON values."""
    return {
        "device": device,
        "hardware": torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cohort_size": cohort_size,
        "mode": "eager",
        "mkl_cbwr": os.environ.get("MKL_CBWR"),
        "descent": version("descent"),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
