from dataclasses import dataclass, field, asdict, replace, astuple
@dataclass(order=True, frozen=True)
class V:
    major: int
    minor: int = 0
    tags: list = field(default_factory=list, compare=False)
v = V(1, 2, ["x"])
print(v, v < V(1, 3), asdict(v), replace(v, minor=9), astuple(V(0)))
try:
    v.major = 3
except Exception as e:
    print(type(e).__name__)
