import math
f = math.factorial(50)
print(f, len(str(2 ** 1000)), sum(map(int, str(2 ** 1000))), f.bit_length(), hex(f % 2 ** 64), math.factorial(30) // math.factorial(28))
