import heapq
from collections import Counter
s = "abracadabra alakazam"
h = [(n, c, c) for c, n in sorted(Counter(s).items())]
heapq.heapify(h)
while len(h) > 1:
    a, b = heapq.heappop(h), heapq.heappop(h)
    heapq.heappush(h, (a[0] + b[0], min(a[1], b[1]), (a[2], b[2])))
codes = {}
def walk(n, p):
    if isinstance(n, str): codes[n] = p or "0"
    else: walk(n[0], p + "0"); walk(n[1], p + "1")
walk(h[0][2], "")
print(sum(len(codes[c]) for c in s), sorted(codes.items()))
