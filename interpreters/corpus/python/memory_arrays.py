from array import array
a = array("i", [1, 2, 3]); a.extend([4])
v = memoryview(bytearray(b"abcdef"))[1:5:2]
print(a, sum(a), a.itemsize, bytes(v), v.tolist())
