import textwrap
t = "The quick brown fox jumps over the lazy dog and runs far away from it."
print(textwrap.fill(t, 30), textwrap.shorten(t, 25), textwrap.indent("a\nb", "> "), textwrap.dedent("   x\n    y"), sep="\n")
