"""In a browser a training step takes about eight times as long, so a chapter does less there.

from smaller import smaller

SEEDS = smaller("seeds", 3, in_browser=1)  # 3; in a browser 1, and it says so
"""

from __future__ import annotations

from tinyfractal.browser import IN_BROWSER


def smaller(what: str, usual: int, in_browser: int) -> int:
    """The `usual` number of something; in a browser a smaller one, and a line that says so."""
    if not IN_BROWSER:
        return usual
    print(f"In a browser this is slower, so we take fewer {what}: {in_browser} instead of {usual}.")
    return in_browser
