import heapq
q, t, log = [(0, "a"), (3, "b")], 0, []
while q and t < 12:
    t, n = heapq.heappop(q); log.append(f"{t}{n}")
    heapq.heappush(q, (t + (2 if n == "a" else 5), n))
print(log)
