class Positive:
    def __set_name__(self, o, n): self.n = "_" + n
    def __get__(self, o, t=None): return getattr(o, self.n)
    def __set__(self, o, v):
        if v <= 0: raise ValueError(f"{self.n[1:]} must be positive")
        setattr(o, self.n, v)
class A:
    w = Positive()
a = A(); a.w = 3; print(a.w)
try: a.w = -1
except ValueError as e: print(e)
