import heapq
g = {"a": {"b": 7, "c": 3}, "b": {"d": 2}, "c": {"b": 1, "d": 8}, "d": {"e": 4}, "e": {}}
dist, todo = {}, [(0, "a", "a")]
while todo:
    d, n, path = heapq.heappop(todo)
    if n in dist:
        continue
    dist[n] = (d, path)
    for m, w in g[n].items():
        heapq.heappush(todo, (d + w, m, path + m))
for n in sorted(dist):
    print(n, *dist[n])
