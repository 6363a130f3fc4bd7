import heapq
h = [5, 3, 8, 1]; heapq.heapify(h)
print([heapq.heappop(h) for _ in range(2)], heapq.nlargest(2, [4, 9, 2]), heapq.nsmallest(2, "hello"), heapq.heappushpop(h, 4))
