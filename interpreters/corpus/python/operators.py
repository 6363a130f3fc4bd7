from operator import itemgetter, attrgetter, methodcaller, mul
rows = [{"n": "b", "v": 2}, {"n": "a", "v": 2}, {"n": "c", "v": 1}]
print(sorted(rows, key=itemgetter("v", "n")), list(map(methodcaller("upper"), "ab")), mul(6, 7), attrgetter("real")(5))
