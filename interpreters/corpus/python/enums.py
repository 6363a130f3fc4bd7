from enum import Enum, IntFlag, auto
class C(Enum):
    RED = 1; GREEN = 2; CRIMSON = 1
class F(IntFlag):
    R = auto(); W = auto(); X = auto()
print(C(1).name, C["GREEN"].value, [c.name for c in C], C.CRIMSON is C.RED, (F.R | F.X).value, F.W in F(3))
