import pickle, copy
class P:
    def __init__(s, x): s.x = x
    def __reduce__(s): return (P, (s.x,))
d = {"a": [1, (2, 3)], "p": P(5)}
e = pickle.loads(pickle.dumps(d)); f = copy.deepcopy(d); f["a"].append(9)
print(e["p"].x, e["a"], d["a"], copy.copy(d)["a"] is d["a"])
