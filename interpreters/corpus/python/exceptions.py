class AppError(Exception):
    pass
def f(x):
    try:
        return 10 / x
    except ZeroDivisionError as e:
        raise AppError("no") from e
    finally:
        print("done", x)
try: f(0)
except AppError as e: print(e, type(e.__cause__).__name__)
try: raise ExceptionGroup("g", [ValueError(1), TypeError(2)])
except* ValueError as g: print("V", g.exceptions)
except* TypeError as g: print("T", len(g.exceptions))
