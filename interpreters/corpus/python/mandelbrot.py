def inside(c):
    z = 0
    for _ in range(20):
        z = z * z + c
        if abs(z) > 2:
            return False
    return True
for y in range(-6, 7):
    print("".join("#" if inside(complex(x / 12 - .5, y / 6)) else "." for x in range(-20, 13)))
