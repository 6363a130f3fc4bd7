import json
from decimal import Decimal
from datetime import date
class E(json.JSONEncoder):
    def default(self, o):
        return o.isoformat() if isinstance(o, date) else sorted(o) if isinstance(o, set) else super().default(o)
print(json.dumps({"d": date(2024, 2, 29), "s": {3, 1, 2}}, cls=E))
print(json.loads("[1.10, 2]", parse_float=Decimal))
