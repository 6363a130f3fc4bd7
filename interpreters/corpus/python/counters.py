from collections import Counter
a, b = Counter("abracadabra"), Counter("cadabra")
print(a - b, a & b, sorted((a | b).items()), a.total(), +Counter(x=-1, y=2))
