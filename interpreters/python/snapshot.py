"""Arranges the snapshot's memory so that a run writes to few of its pages.

Every run begins with the same pages, shared with all others; each page that it writes to costs a
fault and a copy, and these add up to more than a short script. CPython writes to objects that it
only reads, because it counts references, and it allocates wherever something was freed.
"""

import gc

import immortal

# The largest hole that is filled; larger ones hold many objects each.
HOLE_MAX = 64 * 1024
# More than all holes together: an allocation of this size lies behind everything.
BEHIND = 1 << 20

# Scripts that do the usual things.
SCRIPTS = (
    "print(1)",
    "print('a', 1.5, [1, (2,)], {'b': None})\n1 + 1",
    "import json\nd = json.loads('{\"a\": [1, 2.5, \"x\", null, true]}')\nd['b'] = sum(d['a'][:2])\njson.dumps(d, indent=1)",
    "import re\nre.sub(r'(\\w+) (\\d+)', r'\\2 \\1', 'abc 12 def 3')\nre.findall('[a-z]+', 'a b c')",
    "def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\n\n[f(i) for i in range(8)]",
    "from collections import Counter, defaultdict\nc = Counter('banana')\nd = defaultdict(list)\nfor k in c:\n    d[c[k]].append(k)\nresult = dict(d)",
    "class P:\n    def __init__(self, x):\n        self.x = x\n\n    def __repr__(self):\n        return f'P({self.x!r})'\n\nprint(sorted([P(2), P(1)], key=lambda p: p.x))",
    "import math, datetime, statistics\nx = math.sqrt(2)\nstatistics.mean([1, 2, 3])\nstr(datetime.datetime(2024, 1, 1) + datetime.timedelta(days=1))",
    "import csv, io\nrows = list(csv.DictReader(io.StringIO('a,b\\n1,2\\n')))\nrows",
    "input()",
    "1 / 0",
    "x =",
)

_filling = []


def settle():
    _stop_counting()
    gc.freeze()
    # A full collection also empties the lists of freed objects that CPython keeps for each type.
    gc.collect()
    _fill_holes()
    _fill_holes()


def _stop_counting():
    """Makes every object immortal, so that its references are no longer counted."""
    seen = {}
    found = gc.get_objects()
    while found:
        seen.update((id(item), item) for item in found)
        found = [item for item in gc.get_referents(*found) if id(item) not in seen]
    immortal.make_immortal(list(seen.values()))


def _fill_holes():
    """Fills the free places between the objects, so that a run's objects lie together behind them."""
    behind = id(bytes(BEHIND))
    for size in (*range(HOLE_MAX, 1024, -512), *range(1024, 0, -8)):
        while id(hole := bytes(size)) < behind:
            _filling.append(hole)
    while id(hole := object()) < behind:
        _filling.append(hole)
