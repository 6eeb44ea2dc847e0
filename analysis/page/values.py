"""How pages write values."""

from __future__ import annotations

import math
from typing import Any


def text(value: Any) -> str:
    """Thousands are set apart, fractions keep four digits, truth is yes or no, and what is absent is a dash."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.4g}" if abs(value) < 100 else f"{value:,.1f}"
    return f"{int(value):,}" if isinstance(value, int | float) else str(value)


def thousands(value: float) -> str:
    """``1234567`` -> ``1.23 M``, ``45600`` -> ``45.6 k``: three digits."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}" if abs(value) < 1000 * limit else f"{value / limit:.0f}{unit}"
    return f"{value:.3g}"


def percent(share: float | None, digits: int = 2) -> str:
    """``0.98765`` -> ``98.77%``."""
    return "–" if share is None or math.isnan(share) else f"{share:.{digits}%}"


def percent_range(low: float, high: float) -> str:
    """``0.97, 0.991`` -> ``97.0 to 99.1%``."""
    return f"{100 * low:.1f} to {100 * high:.1f}%"


def size(count: float) -> str:
    """Bytes: ``28163`` -> ``28.2 kB``."""
    number = thousands(count)
    return f"{number}B" if number[-1].isalpha() else f"{number} B"


def times(factor: float | None) -> str:
    """``9.4321`` -> ``9.4x``."""
    return "–" if factor is None or math.isnan(factor) else f"{factor:.1f}x" if factor >= 1.95 else f"{factor:.2f}x"


def microjoules(value: float, low: float, high: float) -> str:
    """An energy in pJ with the ends of its interval, never without: ``12.3 (9.8 to 15.1) uJ``."""
    texts = [f"{each / 1e6:,.0f}" if each >= 99.5e6 else f"{each / 1e6:.3g}" for each in (value, low, high)]
    return "{} ({} to {}) uJ".format(*texts)
