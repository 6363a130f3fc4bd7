from collections import deque
d = deque(range(5), maxlen=5)
d.append(5); d.appendleft(9); d.rotate(2)
print(d, d[0], list(reversed(d)), d.index(1))
