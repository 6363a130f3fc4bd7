"""A value as JSON: its text, or the first part of it that JSON cannot represent.

Nothing is left out or replaced silently: a value that JSON would only represent in part is refused.
Tuples are arrays, and keys that are numbers, booleans or None are the strings that `json.dumps`
makes of them, as everybody expects.
"""

import json
import math
import sys
from itertools import chain, compress
from operator import not_

# The depth of nested containers. The encoder's recursion ends the run some thousand levels further.
DEPTH_MAX = 1000

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_LEAVES = frozenset({str, int, float, bool, type(None)})
_KEYS = (str, int, float, type(None))
_ADVICE = {
    "decimal.Decimal": "a string or a float",
    "fractions.Fraction": "a string or a float",
    "datetime.datetime": "its isoformat()",
    "datetime.date": "its isoformat()",
    "datetime.time": "its isoformat()",
    "datetime.timedelta": "its total_seconds()",
    "bytes": "text, for example base64.b64encode(…).decode()",
    "bytearray": "text, for example base64.b64encode(…).decode()",
    "set": "a list",
    "frozenset": "a list",
    "range": "a list",
    "complex": "a list of two floats",
    "uuid.UUID": "its str()",
    "pathlib.PosixPath": "its str()",
}


class Unsayable(Exception):
    """JSON cannot represent a part of a value. `native` is the exception json.dumps would raise."""

    def __init__(self, place, what, native, nested=False):
        super().__init__(f"{place} is {what}")
        self.native = native
        self.nested = nested


def json_of(value):
    """The value as JSON, in UTF-8."""
    if value is None:
        return b"null"
    if type(value) not in _LEAVES:
        _look(value)
    try:
        return _encode(value).encode()
    except MemoryError:
        raise
    except Exception as error:
        raise _first(value) or Unsayable("the result", f"not representable in JSON ({error})", "ValueError") from None


def _look(value):
    """Checks what the encoder does not notice: the depth of a value, and keys that become equal.
    It goes from level to level, so that the loops run in C and not in Python."""
    level, seen = [value], set()
    for _ in range(DEPTH_MAX):
        boxes = {id(item): item for item in level if isinstance(item, (dict, list, tuple))}
        for known in seen.intersection(boxes):
            del boxes[known]
        if not boxes:
            return
        seen.update(boxes)
        dicts = [box for box in boxes.values() if isinstance(box, dict)]
        if not {str}.issuperset(map(type, chain.from_iterable(dicts))):
            for box in dicts:
                if _twice(box) is not None:
                    raise _first(value)
        lists = (box for box in boxes.values() if not isinstance(box, dict))
        items = list(chain(chain.from_iterable(lists), *map(dict.values, dicts)))
        level = list(compress(items, map(not_, map(_LEAVES.__contains__, map(type, items)))))
    raise _first(value) or Unsayable("the result", _too_deep(), "RecursionError", True)


def _first(value):
    """The first part of the value that JSON cannot represent."""
    keys, open_boxes, done = [], {}, set()
    wrong = _wrong(value)
    if wrong or not isinstance(value, (dict, list, tuple)):
        return _named(keys, *wrong) if wrong else None
    walk = [iter(_items(value))]
    open_boxes[id(value)] = None
    boxes = [value]
    while walk:
        for key, item in walk[-1]:
            wrong = _wrong(item)
            if wrong is None and isinstance(item, (dict, list, tuple)):
                if id(item) in open_boxes:
                    wrong = "a container that contains itself", "ValueError", True
                elif len(walk) >= DEPTH_MAX:
                    return Unsayable("the result", _too_deep(), "RecursionError", True)
                elif id(item) not in done:
                    keys.append(key)
                    walk.append(iter(_items(item)))
                    open_boxes[id(item)] = None
                    boxes.append(item)
                    break
            if wrong:
                return _named([*keys, key], *wrong)
        else:
            walk.pop()
            closed = boxes.pop()
            del open_boxes[id(closed)]
            done.add(id(closed))
            del keys[-1:]
    return None


def _too_deep():
    return f"a value of more than {DEPTH_MAX} nested containers"


def _items(box):
    return box.items() if isinstance(box, dict) else enumerate(box)


def _named(keys, what, native, nested=False):
    place = "".join(f"[{_short(key)}]" for key in keys)
    return Unsayable(f"result{place}" if place else "the result", what, native, nested)


def _wrong(item):
    """What is wrong with the item itself, in words, and the native exception's name."""
    if item is None or item is True or item is False:
        return None
    if isinstance(item, str):
        return _wrong_text(item)
    if isinstance(item, float):
        return None if math.isfinite(item) else (f"{float(item)!r}, which is not a number in JSON", "ValueError")
    if isinstance(item, int):
        return _wrong_number(item)
    if isinstance(item, dict):
        return _wrong_keys(item)
    if isinstance(item, (list, tuple)):
        return None
    name = _type_name(type(item))
    what = f"a value of type {name}, which JSON cannot represent"
    return (f"{what}; give {_ADVICE[name]} instead" if name in _ADVICE else what), "TypeError"


def _wrong_text(text):
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"a string with a lone surrogate at index {error.start}, which UTF-8 cannot encode", "ValueError"
    return None


def _wrong_number(number):
    try:
        int.__repr__(number)
    except ValueError:
        digits = sys.get_int_max_str_digits()
        return f"an int of more than {digits} digits, which few JSON readers accept", "ValueError"
    return None


def _wrong_keys(box):
    for key in box:
        if not isinstance(key, _KEYS):
            return f"a dict with a key of type {_type_name(type(key))}, {_short(key)}; JSON's keys are strings", "TypeError"
        wrong = _wrong(key)
        if wrong:
            return f"a dict with a key that is {wrong[0]}", wrong[1]
    twice = _twice(box)
    return None if twice is None else (f"a dict with two keys that JSON writes as {twice!r}", "ValueError")


def _twice(box):
    """The name that two keys of a dict have in JSON, if there is one."""
    names = set()
    for key in box:
        if not isinstance(key, str):
            if not isinstance(key, _KEYS):
                return None
            try:
                key = next(iter(json.loads(_encode({key: 0}))))
            except ValueError:
                return None
        if key in names:
            return key
        names.add(key)
    return None


def _type_name(kind):
    module = kind.__module__
    name = kind.__qualname__
    if module.startswith("pathlib."):
        module = "pathlib"
    return name if module in ("builtins", "__main__") else f"{module}.{name}"


def _short(key):
    try:
        text = repr(key)
    except BaseException:
        text = object.__repr__(key)
    return text if len(text) <= 80 else text[:80] + "…"
