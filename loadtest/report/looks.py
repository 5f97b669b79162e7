"""How each engine looks: the same colour, dash and symbol in every chart of every report.

Colours are those of Okabe and Ito, chosen to be told apart by those who do not see all of them,
darker on light ground and lighter on dark (`style.css` has both). Dash and symbol tell the same
without any colour, as on paper.
"""

from collections.abc import Sequence

from loadtest.runs.plan import MODES

# Symbols of 8 units about the origin, as paths; the first belongs to the first of MODES, and so on.
# Those after them are for engines that MODES does not know.
SYMBOLS = (
    "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "m-3.5 -3.5h7v7h-7z",
    "m0 -4.5l4.5 8h-9z",
    "m0 -5l5 5l-5 5l-5 -5z",
    "m0 4.5l4.5 -8h-9z",
    "m-1.5 -4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "m-4 -4l4 2l4 -2l-2 4l2 4l-4 -2l-4 2l2 -4z",
    "m-5 -2h10v4h-10z",
)


def looks(engines: Sequence[str]) -> dict[str, int]:
    """The number of each engine's look, which `style.css` knows as `look-N`."""
    strangers = [engine for engine in engines if engine not in MODES]
    spare = len(SYMBOLS) - len(MODES)
    return {
        engine: MODES.index(engine)
        if engine in MODES
        else len(MODES) + strangers.index(engine) % spare
        for engine in engines
    }
