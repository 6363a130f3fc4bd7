import weakref, gc
class A: pass
a = A(); r = weakref.ref(a, lambda _: print("gone")); d = weakref.WeakValueDictionary(k=a)
print(r() is a, len(d)); del a; gc.collect(); print(r(), len(d))
