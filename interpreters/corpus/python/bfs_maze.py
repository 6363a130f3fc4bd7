from collections import deque
maze = ["S.#.....", "..#.###.", ".##.#...", ".....#.#", "##.#...E"]
start = (0, 0)
seen, q = {start: 0}, deque([start])
while q:
    r, c = q.popleft()
    for a, b in ((r+1, c), (r-1, c), (r, c+1), (r, c-1)):
        if 0 <= a < 5 and 0 <= b < 8 and maze[a][b] != "#" and (a, b) not in seen:
            seen[a, b] = seen[r, c] + 1
            q.append((a, b))
print(seen[4, 7], len(seen))
