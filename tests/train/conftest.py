"""The helpers beside the tests are importable, and PyTorch stays within its share of the machine."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
