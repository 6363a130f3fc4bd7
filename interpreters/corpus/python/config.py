import configparser, io, tomllib
c = configparser.ConfigParser(); c.read_string("[a]\nx = 1\nhome = /h\np = %(home)s/p\n[b]\non = yes\n")
print(c.sections(), c.getint("a", "x"), c["a"]["p"], c.getboolean("b", "on"))
print(tomllib.loads('t = 1979-05-27\n[s]\nl = [1, 2.5, "x"]\n'))
