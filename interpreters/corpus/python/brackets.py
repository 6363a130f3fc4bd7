def ok(s):
    st = []
    for c in s:
        if c in "([{": st.append(c)
        elif c in ")]}" and (not st or st.pop() + c not in ("()", "[]", "{}")): return False
    return not st
print([ok(s) for s in ("([]{})", "(]", "((", "", "{[()()]}")])
