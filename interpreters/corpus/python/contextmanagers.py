from contextlib import contextmanager, suppress, ExitStack, redirect_stdout
import io
@contextmanager
def tag(n):
    print(f"<{n}>")
    try: yield n
    finally: print(f"</{n}>")
with ExitStack() as st:
    for n in "ab": st.enter_context(tag(n))
with suppress(KeyError): {}["x"]
b = io.StringIO()
with redirect_stdout(b): print("hidden")
print(repr(b.getvalue()))
