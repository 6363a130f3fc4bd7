n = 200
s = bytearray([1]) * (n + 1)
s[:2] = b"\0\0"
for i in range(2, int(n ** .5) + 1):
    if s[i]:
        s[i * i::i] = bytes(len(s[i * i::i]))
print([i for i, x in enumerate(s) if x])
