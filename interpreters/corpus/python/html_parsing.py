import html
from html.parser import HTMLParser
class P(HTMLParser):
    def handle_starttag(self, t, a): print("<", t, dict(a))
    def handle_data(self, d): print("d", d)
P().feed('<p class="x">Hi <b>you</b></p>')
print(html.escape('<a href="x">'), html.unescape("&eacute;&#39;&lt;"))
