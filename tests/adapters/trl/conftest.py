"""TRL without its own vLLM client: it is not used here, and importing vLLM takes longer than all of these tests."""

import os

import torch
from trl import import_utils

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # that AsyncGRPOTrainer may change is known here
import_utils.is_vllm_available = lambda min_version=None: False
torch.set_num_threads(1)  # a small model is not faster by more, and far slower on a machine with other work
