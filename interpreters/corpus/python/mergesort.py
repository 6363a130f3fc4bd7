from heapq import merge
def ms(a):
    return a if len(a) < 2 else list(merge(ms(a[:len(a)//2]), ms(a[len(a)//2:])))
print(ms([(i * 37) % 50 for i in range(50)]))
