def what(x):
    match x:
        case {"type": "point", "at": [a, b]}: return f"point {a},{b}"
        case [first, *rest] if rest: return f"list {first}+{len(rest)}"
        case str() as s: return f"str {s!r}"
        case 0 | 1: return "bit"
        case int(n): return f"int {n}"
        case _: return "other"
for x in ({"type": "point", "at": [1, 2]}, [1, 2, 3], "s", 1, 7, [9], None): print(what(x))
