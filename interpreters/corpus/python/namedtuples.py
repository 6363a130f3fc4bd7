from collections import namedtuple
from typing import NamedTuple
P = namedtuple("P", "x y", defaults=[0])
class Q(NamedTuple):
    a: int
    b: str = "z"
print(P(1), P(1, 2)._replace(x=5), P._fields, Q(3), Q(3)._asdict(), P(1) < P(2))
