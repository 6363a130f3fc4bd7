from urllib.parse import urlparse, urlencode, parse_qs, quote, unquote, urljoin
u = urlparse("https://u:p@ex.com:8080/a/b;p?x=1&y=2&x=3#f")
print(u.hostname, u.port, u.path, parse_qs(u.query), urlencode({"q": "a b&c", "n": 1}), quote("é/ "), unquote("%20"), urljoin("http://a/b/c", "../d"))
