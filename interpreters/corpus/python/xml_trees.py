import xml.etree.ElementTree as E
r = E.fromstring('<r><i k="1">a</i><i k="2">b<j/></i></r>')
print([(i.get("k"), i.text) for i in r.findall("i")], r.find("i[@k='2']/j") is not None)
E.SubElement(r, "n").text = "<&>"
print(E.tostring(r, "unicode"))
