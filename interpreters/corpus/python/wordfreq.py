from collections import Counter
import re
text = "the cat and the hat and the bat; a cat is a cat"
for w, n in Counter(re.findall(r"\w+", text)).most_common(4):
    print(f"{w:>5} {n:3d} {'*' * n}")
