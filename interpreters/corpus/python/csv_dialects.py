import csv, io
rows = list(csv.reader(io.StringIO("a;b;'c;d'\n1;2;'it''s'\n"), delimiter=";", quotechar="'"))
print(rows, csv.Sniffer().sniff("a\tb\tc\n1\t2\t3\n").delimiter == "\t")
