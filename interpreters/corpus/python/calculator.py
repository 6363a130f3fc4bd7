import re
def calc(s):
    t = re.findall(r"\d+\.?\d*|[-+*/()]", s)
    def expr():
        v = term()
        while t and t[0] in "+-": v = v + term() if t.pop(0) == "+" else v - term()
        return v
    def term():
        v = atom()
        while t and t[0] in "*/": v = v * atom() if t.pop(0) == "*" else v / atom()
        return v
    def atom():
        x = t.pop(0)
        if x == "(": v = expr(); t.pop(0); return v
        return -atom() if x == "-" else float(x)
    return expr()
print([calc(x) for x in ("1+2*3", "(1+2)*3", "10/4-1", "-(2+3)*2")])
