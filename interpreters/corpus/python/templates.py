from string import Template, Formatter
print(Template("$who owes ${amt} $$").substitute(who="Ann", amt=5), Template("$x $y").safe_substitute(x=1), [f[1] for f in Formatter().parse("{a} {b.c}")])
