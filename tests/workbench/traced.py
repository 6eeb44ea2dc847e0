"""Runs one task in this process and prints, as JSON, every file of the project and the user's that it opened.

    python traced.py FOLDER < a pickled task

Python tells of every file that it opens (an audit hook); what the C compiler and gem5's Python read, their stand-ins
tell: a compiler's ``-M`` list, gem5's scripts by running them under the same hook.
"""

import json
import os
import pickle
import sys
from pathlib import Path

opened: set[str] = set()


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        opened.add(os.path.realpath(os.fsdecode(arguments[0])))


def main() -> None:
    folder, log = Path(sys.argv[1]), Path(sys.argv[2])
    task = pickle.load(sys.stdin.buffer)
    before = set(sys.modules)
    sys.addaudithook(hook)
    task.step.call(folder, task.arguments() | ({"resume": folder / "resume"} if task.step.resumes is not None else {}))
    for name in sys.modules.keys() - before | {name for name in before if name.startswith("sysmol")}:
        file = getattr(sys.modules[name], "__file__", None)
        opened.add(os.path.realpath(file) if file else "")
    log.write_text(json.dumps(sorted(opened)))


if __name__ == "__main__":
    main()
