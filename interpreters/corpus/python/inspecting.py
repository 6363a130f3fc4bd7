import inspect
def f(a, b=2, *c, d, e=5, **k): "doc"
s = inspect.signature(f)
print(s, [p.kind.name for p in s.parameters.values()], inspect.getdoc(f), inspect.isgeneratorfunction(f), s.bind(1, d=4).arguments)
