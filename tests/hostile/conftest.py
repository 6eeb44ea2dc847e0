"""The modules of this folder import each other by name, as campaign.py does where it runs as a program."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
