import calendar
print(calendar.month(2024, 2), calendar.isleap(1900), tuple(map(int, calendar.monthrange(2023, 11))), calendar.timegm((1970, 1, 2, 0, 0, 0)))
