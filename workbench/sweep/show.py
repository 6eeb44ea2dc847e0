"""A sweep's progress on the terminal: live bars, and a line per point."""

from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from sysmol.workbench.sweep.runner import OK, Job, Progress, Tally


class Display(Progress):
    """Use as a context: ``with Display() as progress: run_sweep(..., progress)``."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bars = Bars(*columns, TimeRemainingColumn(), console=self.console)
        self.programs = self.bars.add_task("programs", total=None)
        self.points = self.bars.add_task("points", total=None, visible=False)
        self.live = Live(self.bars, console=self.console, refresh_per_second=2)

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def compiling(self, done: int, total: int) -> None:
        self.bars.update(self.programs, completed=done, total=total)

    def planned(self, tally: Tally) -> None:
        self.bars.update(self.points, total=tally.ran, visible=True)
        self.console.print(f"{tally.points} points: {tally.known} known, {tally.ran} to run", highlight=False)

    def finished(self, job: Job, record: dict[str, Any]) -> None:
        self.bars.advance(self.points)
        cycles = "" if record.get("cycles") is None else f", {record['cycles']:,.0f} cycles per image"
        said = f"{cycles}" if record["status"] == OK else f": {record['error']}"
        line = f"{job.point.title}: {record['status']}{said} ({record.get('seconds', 0):.0f} s)"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
