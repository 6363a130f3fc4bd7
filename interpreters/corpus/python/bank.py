class Account:
    def __init__(self, owner, balance=0): self.owner, self._b, self.log = owner, balance, []
    @property
    def balance(self): return self._b
    def withdraw(self, n):
        if n > self._b: raise ValueError("insufficient funds")
        self._b -= n; self.log.append(-n)
a = Account("Ann", 100); a.withdraw(30)
try: a.withdraw(100)
except ValueError as e: print("error:", e)
print(a.balance, a.log)
