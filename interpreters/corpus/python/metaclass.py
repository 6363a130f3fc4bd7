class Meta(type):
    def __new__(m, n, b, d):
        d["fields"] = [k for k in d if not k.startswith("_")]
        return super().__new__(m, n, b, d)
class T(metaclass=Meta):
    x = 1; y = 2
print(T.fields, type(T).__name__)
