from itertools import groupby
words = "listen silent enlist google elbow below inlets state taste cat act".split()
k = lambda w: "".join(sorted(w))
for key, g in groupby(sorted(words, key=lambda w: (k(w), w)), k):
    print(key, list(g))
