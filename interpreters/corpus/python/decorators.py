import functools
def retry(n):
    def deco(f):
        @functools.wraps(f)
        def w(*a):
            for i in range(n):
                try: return f(*a, i)
                except ValueError as e: print("retry", e)
            return None
        return w
    return deco
@retry(3)
def flaky(x, i):
    if i < 2: raise ValueError(i)
    return x * i
print(flaky(21), flaky.__name__)
