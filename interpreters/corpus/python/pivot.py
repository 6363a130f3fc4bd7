from collections import defaultdict
rows = [("east", "q1", 5), ("west", "q1", 7), ("east", "q2", 3), ("west", "q2", 1), ("east", "q1", 2)]
t = defaultdict(lambda: defaultdict(int))
for r, q, v in rows: t[r][q] += v
for r in sorted(t): print(r, dict(t[r]), sum(t[r].values()))
