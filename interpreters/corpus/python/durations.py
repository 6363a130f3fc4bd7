from datetime import timedelta, datetime
a = datetime(2020, 1, 1); b = datetime(2021, 3, 4, 5, 6, 7, 89)
print(b - a, (b - a).days, (b - a).total_seconds(), timedelta(hours=-5), abs(timedelta(days=-1)), timedelta(days=7) / timedelta(hours=12))
