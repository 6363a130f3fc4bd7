from itertools import permutations
from math import factorial
def rank(p): return sum(sum(q < x for q in p[i + 1:]) * factorial(len(p) - 1 - i) for i, x in enumerate(p))
print(all(rank(p) == i for i, p in enumerate(permutations(range(5)))), rank((3, 0, 2, 1)))
