from typing import Protocol, runtime_checkable, get_type_hints, Generic, TypeVar
@runtime_checkable
class Sized(Protocol):
    def size(self) -> int: ...
class Box:
    def size(self) -> int: return 3
def f(a: int, b: "list[str]" = None) -> bool: return True
print(isinstance(Box(), Sized), isinstance(3, Sized), get_type_hints(f))
