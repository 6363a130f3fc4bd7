import ast
t = ast.parse("x = a + b * 2\nprint(x, f(y))")
print(sorted({n.id for n in ast.walk(t) if isinstance(n, ast.Name)}), ast.unparse(t), ast.literal_eval("{'a': [1, (2,)]}"))
