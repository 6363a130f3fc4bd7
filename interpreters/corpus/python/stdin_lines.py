import sys
lines = sys.stdin.read().split("\n")
print(len(lines), sys.argv[0] != "", __name__)
