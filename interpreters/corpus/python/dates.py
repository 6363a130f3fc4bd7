from datetime import date, datetime, timedelta, timezone
d = date(2024, 2, 28)
print([str(d + timedelta(days=i)) for i in range(3)], d.isocalendar()[1], d.strftime("%a %d %b %Y"))
t = datetime(2024, 3, 10, 12, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
print(t.isoformat(), t.astimezone(timezone.utc), t.timestamp(), datetime.strptime("07/04/1999", "%d/%m/%Y").date())
