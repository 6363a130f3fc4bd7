from abc import ABC, abstractmethod
class Base(ABC):
    @abstractmethod
    def f(self): ...
    def g(self): return self.f() * 2
class D(Base):
    def f(self): return 21
try: Base()
except TypeError as e: print("abstract" in str(e))
print(D().g(), isinstance(D(), Base))
